// Where one side of one tile lies.
#ifndef POLARKV_CODEC_TILE_PLANES_H_
#define POLARKV_CODEC_TILE_PLANES_H_

#include <cstdint>

#include "codec/code_matrix.h"

namespace polarkv {

// Null: the codec lacks the plane, or it was not fetched.
template <typename Byte>
struct TilePlanes {
  Byte* payload = nullptr;  // in the base plane
  Byte* refine1 = nullptr;
  Byte* refine0 = nullptr;
  Byte* residual = nullptr;
};

// The bit planes of turbo codes that have `bits` bits when every plane is there. turbo5 has its third bit in the base
// plane, after the crumbs; turbo1 has nothing else.
template <typename Byte>
CodePlanes<Byte> TurboCodePlanes(uint32_t bits, uint32_t head_dim, const TilePlanes<Byte>& planes) {
  if (bits == 1) return {nullptr, planes.payload, nullptr, nullptr};
  if (bits == 5) return {planes.payload, planes.payload + 16 * head_dim, planes.refine1, planes.refine0};
  return {planes.payload, planes.refine1, planes.refine0, nullptr};
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_TILE_PLANES_H_
