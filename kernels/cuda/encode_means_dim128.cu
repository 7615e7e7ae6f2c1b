#include "kernels/cuda/encode_means_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchKeysWithMeans<128>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);

}  // namespace polarkv::cuda
