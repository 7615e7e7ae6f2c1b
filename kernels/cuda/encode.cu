#include "kernels/cuda/encode.h"

#include "kernels/cuda/encode_kernels.cuh"
#include "kernels/cuda/launch_status.cuh"

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

LaunchError LaunchEncode(const EncodeCodec& codec, const EncodeBatch& batch, void* stream) {
  if (const LaunchError error = CheckEncode(codec, batch); error != LaunchError::kNone) return error;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  cudaError_t error = LaunchSideOf(codec, batch, KvSide::kKey, cuda_stream);
  if (error == cudaSuccess) error = LaunchSideOf(codec, batch, KvSide::kValue, cuda_stream);
  return LaunchErrorOf(error);
}

}  // namespace polarkv::cuda
