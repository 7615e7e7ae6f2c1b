#include "tests/kernels/cuda/host_encode_launch.h"

namespace polarkv::cuda {
namespace {

bool EncodeSide(const EncodeCodec& codec, const EncodeBatch& batch, KvSide side, const MeanArgs& means) {
  const EncodeArgs args = MakeEncodeArgs(codec, batch, side);
  const CodeKind kind = side == KvSide::kKey ? codec.key_kind : codec.value_kind;
  return IsTrellisKind(kind) ? EncodeTrellisOnHost(codec.head_dim, kind, args, means)
                             : EncodeTurboOnHost(codec.head_dim, kind, args, means);
}

}  // namespace

LaunchError EncodeLaunchOnHost(const EncodeCodec& codec, const EncodeBatch& batch) {
  if (const LaunchError error = CheckEncode(codec, batch); error != LaunchError::kNone) return error;
  const MeanArgs means = MakeMeanArgs(codec, batch);
  PrepareMeansOnHost(codec.head_dim, MakeEncodeArgs(codec, batch, KvSide::kKey), means);
  const bool done =
      EncodeSide(codec, batch, KvSide::kKey, means) && EncodeSide(codec, batch, KvSide::kValue, means);
  return done ? LaunchError::kNone : LaunchError::kUnsupportedShape;
}

}  // namespace polarkv::cuda
