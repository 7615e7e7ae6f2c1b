#include "kernels/cuda/encode_kernels.cuh"

namespace polarkv::cuda {

template cudaError_t LaunchEncodeDim<128>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);

}  // namespace polarkv::cuda
