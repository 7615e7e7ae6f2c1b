// Turbo codes in and out of a tile's bit planes, in the order of code_order.h.
#ifndef POLARKV_CODEC_CODE_PLANES_H_
#define POLARKV_CODEC_CODE_PLANES_H_

#include <cstdint>

#include "codec/block_format.h"
#include "codec/kv_side.h"
#include "codec/rotation.h"

namespace polarkv {

// One side of one tile as rows of codes: a row is what a dot product keeps apart, its columns what it sums over.
//   keys:   64 rows (tokens) of head_dim columns (coordinates)
//   values: head_dim rows (coordinates) of 64 columns (tokens)
// Both are contiguous; index with row * CodeColumns(side, head_dim) + column.
inline constexpr uint32_t CodeRows(KvSide side, uint32_t head_dim) {
  return side == KvSide::kKey ? kTileTokens : head_dim;
}
inline constexpr uint32_t CodeColumns(KvSide side, uint32_t head_dim) {
  return side == KvSide::kKey ? head_dim : kTileTokens;
}
inline constexpr uint32_t kMaxTileCodes = kTileTokens * kMaxHeadDim;

// The planes that hold one side's codes; a null plane is not written, or read as zero bits.
template <typename Byte>
struct CodePlanes {
  Byte* crumbs = nullptr;   // upper two bits of each code
  Byte* refine1 = nullptr;  // the bit below them
  Byte* refine0 = nullptr;  // the bit below that
};

// Writes codes of `bits` bits into planes that are all zero. Codes of padding tokens are 0 in every bit.
void PackCodes(KvSide side, uint32_t head_dim, uint32_t bits, const uint8_t* codes, const CodePlanes<uint8_t>& planes);

// Reads codes of `bits` bits: 2 from the crumbs, a third if bits >= 3 from refine1, a fourth if bits = 4 from refine0.
void UnpackCodes(KvSide side, uint32_t head_dim, uint32_t bits, const CodePlanes<const uint8_t>& planes,
                 uint8_t* codes);

}  // namespace polarkv

#endif  // POLARKV_CODEC_CODE_PLANES_H_
