#include "tests/kernels/cuda/host_encode.h"
#include "tests/kernels/cuda/host_encode_launch.h"

namespace polarkv::cuda {
namespace {

// On types only the loads depend: all head dims have bf16, and one the others. Keys with means are fp32: turbo4 of all
// head dims, the other codes of one.
struct TurboKinds {
  template <int kDim, ElementType kType, int kSide>
  static bool Encode(CodeKind kind, const EncodeArgs& args, const MeanArgs& means) {
    constexpr bool kPlain = kType == ElementType::kBF16, kMeans = kTakesMeansOff<kType, kSide>;
    if constexpr (kPlain || kMeans || kDim == 128) {
      if (kind == kTurbo4) return EncodeSideOnHost<kDim, kType, kTurbo4, kSide>(args, means), true;
    }
    if constexpr (kPlain || (kMeans && kDim == 128)) {
      if (kind == kTurbo3) return EncodeSideOnHost<kDim, kType, kTurbo3, kSide>(args, means), true;
      if (kind == kTurbo2) return EncodeSideOnHost<kDim, kType, kTurbo2, kSide>(args, means), true;
    }
    return false;
  }
};

}  // namespace

bool EncodeTurboOnHost(uint32_t head_dim, CodeKind kind, const EncodeArgs& args, const MeanArgs& means) {
  return EncodeKindsOnHost<TurboKinds>(head_dim, kind, args, means);
}

}  // namespace polarkv::cuda
