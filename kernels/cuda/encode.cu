#include "kernels/cuda/encode.h"

#include "kernels/cuda/encode_kernels.cuh"
#include "kernels/cuda/launch_status.cuh"

namespace polarkv::cuda {

extern template cudaError_t LaunchEncodeDim<64>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);
extern template cudaError_t LaunchEncodeDim<128>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);
extern template cudaError_t LaunchEncodeDim<256>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);

LaunchError LaunchEncode(const EncodeCodec& codec, const EncodeBatch& batch, void* stream) {
  if (const LaunchError error = CheckEncode(codec, batch); error != LaunchError::kNone) return error;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  cudaError_t error = cudaSuccess;
  if (codec.head_dim == 64) error = LaunchEncodeDim<64>(codec, batch, cuda_stream);
  if (codec.head_dim == 128) error = LaunchEncodeDim<128>(codec, batch, cuda_stream);
  if (codec.head_dim == 256) error = LaunchEncodeDim<256>(codec, batch, cuda_stream);
  return LaunchErrorOf(error);
}

}  // namespace polarkv::cuda
