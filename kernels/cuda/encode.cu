#include "kernels/cuda/encode.h"

#include "kernels/cuda/encode_kernels.cuh"
#include "kernels/cuda/launch_status.cuh"
#include "kernels/cuda/mean_turns.h"

namespace polarkv::cuda {

extern template cudaError_t LaunchEncodeTurbo<64>(CodeKind, const EncodeArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTurbo<128>(CodeKind, const EncodeArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTurbo<256>(CodeKind, const EncodeArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTrellis<64>(CodeKind, const EncodeArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTrellis<128>(CodeKind, const EncodeArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTrellis<256>(CodeKind, const EncodeArgs&, cudaStream_t);

namespace {

template <int kDim>
cudaError_t LaunchSide(CodeKind kind, const EncodeArgs& args, cudaStream_t stream) {
  return IsTrellisKind(kind) ? LaunchEncodeTrellis<kDim>(kind, args, stream)
                             : LaunchEncodeTurbo<kDim>(kind, args, stream);
}

cudaError_t LaunchSideOf(const EncodeCodec& codec, const EncodeBatch& batch, KvSide side, cudaStream_t stream) {
  const EncodeArgs args = MakeEncodeArgs(codec, batch, side);
  const CodeKind kind = side == KvSide::kKey ? codec.key_kind : codec.value_kind;
  if (codec.head_dim == 64) return LaunchSide<64>(kind, args, stream);
  if (codec.head_dim == 128) return LaunchSide<128>(kind, args, stream);
  return LaunchSide<256>(kind, args, stream);
}

}  // namespace

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
  const bool means = batch.means.source != MeanSource::kNone;
  cudaError_t error = means ? LaunchMeans(codec, batch, cuda_stream)
                            : LaunchSideOf(codec, batch, KvSide::kKey, cuda_stream);
  if (error == cudaSuccess) error = LaunchSideOf(codec, batch, KvSide::kValue, cuda_stream);
  return LaunchErrorOf(error);
}

}  // namespace polarkv::cuda
