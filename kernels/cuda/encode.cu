#include "kernels/cuda/encode.h"

#include "kernels/cuda/encode_kernels.cuh"

namespace polarkv::cuda {

extern template cudaError_t LaunchEncodeDim<64>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);
extern template cudaError_t LaunchEncodeDim<128>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);
extern template cudaError_t LaunchEncodeDim<256>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);

EncodeError LaunchEncode(const EncodeCodec& codec, const EncodeBatch& batch, void* stream) {
  if (const EncodeError error = CheckEncode(codec, batch); error != EncodeError::kNone) return error;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  cudaError_t error = cudaSuccess;
  if (codec.head_dim == 64) error = LaunchEncodeDim<64>(codec, batch, cuda_stream);
  if (codec.head_dim == 128) error = LaunchEncodeDim<128>(codec, batch, cuda_stream);
  if (codec.head_dim == 256) error = LaunchEncodeDim<256>(codec, batch, cuda_stream);
  if (error == cudaSuccess) return EncodeError::kNone;
  const bool no_device = error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver ||
                         error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction;
  return no_device ? EncodeError::kNoDevice : EncodeError::kLaunchFailed;
}

}  // namespace polarkv::cuda
