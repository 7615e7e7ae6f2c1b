#include "kernels/cuda/encode_means_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchOwnMeans<256>(const EncodeArgs&, const MeanArgs&, cudaStream_t);

}  // namespace polarkv::cuda
