#include "kernels/cuda/decode.h"

#include "kernels/cuda/decode_kernels.cuh"
#include "kernels/cuda/launch_status.cuh"

namespace polarkv::cuda {

extern template cudaError_t LaunchDecodeDim<64>(const AttentionCodec&, const DecodeBatch&, cudaStream_t);
extern template cudaError_t LaunchDecodeDim<128>(const AttentionCodec&, const DecodeBatch&, cudaStream_t);
extern template cudaError_t LaunchDecodeDim<256>(const AttentionCodec&, const DecodeBatch&, cudaStream_t);

LaunchError LaunchDecode(const AttentionCodec& codec, const DecodeBatch& batch, void* stream) {
  if (const LaunchError error = CheckDecode(codec, batch); error != LaunchError::kNone) return error;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  cudaError_t error = cudaSuccess;
  if (codec.head_dim == 64) error = LaunchDecodeDim<64>(codec, batch, cuda_stream);
  if (codec.head_dim == 128) error = LaunchDecodeDim<128>(codec, batch, cuda_stream);
  if (codec.head_dim == 256) error = LaunchDecodeDim<256>(codec, batch, cuda_stream);
  return LaunchErrorOf(error);
}

}  // namespace polarkv::cuda
