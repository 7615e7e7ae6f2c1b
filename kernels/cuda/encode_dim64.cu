#include "kernels/cuda/encode_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchEncodeDim<64>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);

}  // namespace polarkv::cuda
