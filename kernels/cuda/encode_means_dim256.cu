#include "kernels/cuda/encode_means_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchKeysWithMeans<256>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);

}  // namespace polarkv::cuda
