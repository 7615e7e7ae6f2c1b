#include "kernels/cuda/encode.h"

#include "kernels/cuda/encode_kernels.cuh"
#include "kernels/cuda/launch_status.cuh"
#include "kernels/cuda/mean_turns.h"

namespace polarkv::cuda {

extern template cudaError_t LaunchEncodeTurbo<64>(CodeKind, const EncodeArgs&, const MeanArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTurbo<128>(CodeKind, const EncodeArgs&, const MeanArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTurbo<256>(CodeKind, const EncodeArgs&, const MeanArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTrellis<64>(CodeKind, const EncodeArgs&, const MeanArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTrellis<128>(CodeKind, const EncodeArgs&, const MeanArgs&, cudaStream_t);
extern template cudaError_t LaunchEncodeTrellis<256>(CodeKind, const EncodeArgs&, const MeanArgs&, cudaStream_t);

// Of encode_means_dim*.cu.
template <int kDim>
cudaError_t LaunchOwnMeans(const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream);
extern template cudaError_t LaunchOwnMeans<64>(const EncodeArgs&, const MeanArgs&, cudaStream_t);
extern template cudaError_t LaunchOwnMeans<128>(const EncodeArgs&, const MeanArgs&, cudaStream_t);
extern template cudaError_t LaunchOwnMeans<256>(const EncodeArgs&, const MeanArgs&, cudaStream_t);

namespace {

constexpr uint32_t kTurnWarps = 4;

__global__ void TurnsKernel(const __grid_constant__ EncodeArgs args, const __grid_constant__ MeanArgs means) {
  const uint32_t row = blockIdx.x * kTurnWarps + threadIdx.x / 32;
  if (row < TurnRows(args)) StoreTurns<DeviceWarp>(args, means, row);
}

// What the keys' kernel needs of means.
template <int kDim>
cudaError_t LaunchMeans(const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream) {
  if (means.source != MeanSource::kNone && means.pairs != 0) {
    TurnsKernel<<<(TurnRows(args) + kTurnWarps - 1) / kTurnWarps, 32 * kTurnWarps, 0, stream>>>(args, means);
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  }
  return AreOwn(means.source) ? LaunchOwnMeans<kDim>(args, means, stream) : cudaSuccess;
}

template <int kDim>
cudaError_t LaunchSide(CodeKind kind, const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream) {
  return IsTrellisKind(kind) ? LaunchEncodeTrellis<kDim>(kind, args, means, stream)
                             : LaunchEncodeTurbo<kDim>(kind, args, means, stream);
}

template <int kDim>
cudaError_t LaunchDim(const EncodeCodec& codec, const EncodeBatch& batch, cudaStream_t stream) {
  const EncodeArgs keys = MakeEncodeArgs(codec, batch, KvSide::kKey);
  const MeanArgs means = MakeMeanArgs(codec, batch);
  cudaError_t error = LaunchMeans<kDim>(keys, means, stream);
  if (error == cudaSuccess) error = LaunchSide<kDim>(codec.key_kind, keys, means, stream);
  if (error != cudaSuccess) return error;
  return LaunchSide<kDim>(codec.value_kind, MakeEncodeArgs(codec, batch, KvSide::kValue), means, stream);
}

}  // namespace

LaunchError LaunchEncode(const EncodeCodec& codec, const EncodeBatch& batch, void* stream) {
  if (const LaunchError error = CheckEncode(codec, batch); error != LaunchError::kNone) return error;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  if (codec.head_dim == 64) return LaunchErrorOf(LaunchDim<64>(codec, batch, cuda_stream));
  if (codec.head_dim == 128) return LaunchErrorOf(LaunchDim<128>(codec, batch, cuda_stream));
  return LaunchErrorOf(LaunchDim<256>(codec, batch, cuda_stream));
}

}  // namespace polarkv::cuda
