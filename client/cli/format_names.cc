#include "client/cli/format_names.h"

namespace polarkv::cli {

uint32_t DtypeBytes(Dtype dtype) { return dtype == Dtype::kF32 ? 4 : 2; }

const char* DtypeName(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF16:
      return "F16";
    case Dtype::kBF16:
      return "BF16";
    case Dtype::kF32:
      return "F32";
  }
  return "unknown";
}

const char* RopePairingName(RopePairing pairing) {
  switch (pairing) {
    case RopePairing::kNone:
      return "none";
    case RopePairing::kHalf:
      return "half";
    case RopePairing::kInterleaved:
      return "interleaved";
  }
  return "unknown";
}

const char* PlaneKindName(PlaneKind kind) {
  switch (kind) {
    case PlaneKind::kBase:
      return "base";
    case PlaneKind::kKeyRefine1:
      return "key_refine1";
    case PlaneKind::kValueRefine1:
      return "value_refine1";
    case PlaneKind::kKeyRefine0:
      return "key_refine0";
    case PlaneKind::kValueRefine0:
      return "value_refine0";
    case PlaneKind::kKeyResidual:
      return "key_residual";
  }
  return "unknown";
}

const char* RotationKindName(RotationKind kind) {
  switch (kind) {
    case RotationKind::kNone:
      return "none";
    case RotationKind::kSignedBlockHadamard:
      return "signed_block_hadamard";
  }
  return "unknown";
}

}  // namespace polarkv::cli
