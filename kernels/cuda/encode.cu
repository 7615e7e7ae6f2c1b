#include "kernels/cuda/encode.h"

#include "kernels/cuda/encode_kernels.cuh"
#include "kernels/cuda/launch_status.cuh"
#include "kernels/cuda/mean_turns.h"

namespace polarkv::cuda {

extern template cudaError_t LaunchEncodeDim<64>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);
extern template cudaError_t LaunchEncodeDim<128>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);
extern template cudaError_t LaunchEncodeDim<256>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);

// Of encode_means_dim*.cu.
template <int kDim>
cudaError_t LaunchKeysWithMeans(const EncodeCodec& codec, const EncodeBatch& batch, cudaStream_t stream);
extern template cudaError_t LaunchKeysWithMeans<64>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);
extern template cudaError_t LaunchKeysWithMeans<128>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);
extern template cudaError_t LaunchKeysWithMeans<256>(const EncodeCodec&, const EncodeBatch&, cudaStream_t);

namespace {

constexpr uint32_t kTurnWarps = 4;

__global__ void TurnsKernel(const __grid_constant__ EncodeArgs args, const __grid_constant__ MeanArgs means) {
  const uint32_t row = blockIdx.x * kTurnWarps + threadIdx.x / 32;
  if (row < TurnRows(args)) StoreTurns<DeviceWarp>(args, means, row);
}

cudaError_t LaunchMeans(const EncodeCodec& codec, const EncodeBatch& batch, cudaStream_t stream) {
  const EncodeArgs args = MakeEncodeArgs(codec, batch, KvSide::kKey);
  const MeanArgs means = MakeMeanArgs(codec, batch);
  if (means.pairs != 0) {
    TurnsKernel<<<(TurnRows(args) + kTurnWarps - 1) / kTurnWarps, 32 * kTurnWarps, 0, stream>>>(args, means);
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  }
  if (codec.head_dim == 64) return LaunchKeysWithMeans<64>(codec, batch, stream);
  if (codec.head_dim == 128) return LaunchKeysWithMeans<128>(codec, batch, stream);
  return LaunchKeysWithMeans<256>(codec, batch, stream);
}

}  // namespace

LaunchError LaunchEncode(const EncodeCodec& codec, const EncodeBatch& batch, void* stream) {
  if (const LaunchError error = CheckEncode(codec, batch); error != LaunchError::kNone) return error;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  cudaError_t error = cudaSuccess;
  if (batch.means.source != MeanSource::kNone) error = LaunchMeans(codec, batch, cuda_stream);
  if (error != cudaSuccess) return LaunchErrorOf(error);
  if (codec.head_dim == 64) error = LaunchEncodeDim<64>(codec, batch, cuda_stream);
  if (codec.head_dim == 128) error = LaunchEncodeDim<128>(codec, batch, cuda_stream);
  if (codec.head_dim == 256) error = LaunchEncodeDim<256>(codec, batch, cuda_stream);
  return LaunchErrorOf(error);
}

}  // namespace polarkv::cuda
