#include "kernels/cuda/decode_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchDecodeDim<256>(const AttentionCodec&, const DecodeBatch&, cudaStream_t);

}  // namespace polarkv::cuda
