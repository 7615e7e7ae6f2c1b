#include "tests/kernels/cuda/host_encode.h"
#include "tests/kernels/cuda/host_encode_launch.h"

namespace polarkv::cuda {
namespace {

// All head dims with bf16, all types of numbers at head dim 128. Keys with means are fp32: trellis3 of all head dims,
// the other codes of one.
struct TrellisKinds {
  template <int kDim, ElementType kType, int kSide>
  static bool Encode(CodeKind kind, const EncodeArgs& args, const MeanArgs& means) {
    constexpr bool kPlain = kType == ElementType::kBF16 || kDim == 128;
    if constexpr (kPlain) {
      if (kind == kTrellis1) return EncodeSideOnHost<kDim, kType, kTrellis1, kSide>(args, means), true;
      if (kind == kTrellis2) return EncodeSideOnHost<kDim, kType, kTrellis2, kSide>(args, means), true;
    }
    if constexpr (kPlain || kTakesMeansOff<kType, kSide>) {
      if (kind == kTrellis3) return EncodeSideOnHost<kDim, kType, kTrellis3, kSide>(args, means), true;
    }
    return false;
  }
};

}  // namespace

bool EncodeTrellisOnHost(uint32_t head_dim, CodeKind kind, const EncodeArgs& args, const MeanArgs& means) {
  return EncodeKindsOnHost<TrellisKinds>(head_dim, kind, args, means);
}

}  // namespace polarkv::cuda
