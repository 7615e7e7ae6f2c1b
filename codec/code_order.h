// Where a code sits inside a tile plane. One order serves byte permutes and MMA fragments on the GPU, VNNI and AMX on the
// CPU, and readers that fetch fewer planes. FORMAT.md, "Code order", has the derivation.
//
// A tile holds 64 tokens x d coordinates. A *row* is what the dot product keeps apart (K: a token, V: a dim), the
// *contraction axis* is what it sums over (K: coordinates, V: tokens). Sixteen codes of one row make an *atom*, one 32-bit
// word of 2-bit crumbs in the base plane. 32 lanes (MMA: g = row in the fragment, t = contraction quarter) own W words
// each in two vectors A, B per group; W = 4 but for the last group of head dims that are not a multiple of 64. In a full
// group lane (g, t) is at position 16 * (g / 4) + 4t + g % 4: a 64-byte line is then 16 rows of one chunk (CPU), the lines
// of the same rows follow each other, and no 16-byte shared-memory load of a GPU meets more than a two-way bank conflict.
//
//   base plane, one group:  [vector A: 32 lanes x W words][vector B: 32 lanes x W words]
//   refinement plane:       [32 lanes x W words], one word for the 16 + 16 codes of the A and B words in the same place
#ifndef POLARKV_CODEC_CODE_ORDER_H_
#define POLARKV_CODEC_CODE_ORDER_H_

#include <cstdint>

#if defined(__CUDACC__)
#define POLARKV_HOST_DEVICE __host__ __device__
#else
#define POLARKV_HOST_DEVICE
#endif

namespace polarkv {

// One atom's place: its word in the base plane, and the word and half (A = 0, B = 1) in the refinement planes.
struct AtomPlace {
  uint32_t base_word;    // index of the 32-bit word in the base plane
  uint32_t refine_word;  // index of the 32-bit word in a refinement plane
  uint32_t vector;       // 0: A, 1: B
};

namespace code_order_internal {
POLARKV_HOST_DEVICE constexpr uint32_t FullGroupLane(uint32_t g, uint32_t t) { return 16 * (g / 4) + 4 * t + g % 4; }

POLARKV_HOST_DEVICE constexpr AtomPlace Place(uint32_t group, uint32_t width, uint32_t vector, uint32_t lane, uint32_t word) {
  // Groups before this one are full: 2 * 32 * 4 base words each.
  const uint32_t in_vector = lane * width + word;
  return {group * 256 + vector * 32 * width + in_vector, group * 128 + in_vector, vector};
}
}  // namespace code_order_internal

// K: the atom of `token` (0..63) that holds coordinates 16*chunk .. 16*chunk+15. head_dim is a multiple of 16.
POLARKV_HOST_DEVICE constexpr AtomPlace KeyAtom(uint32_t head_dim, uint32_t token, uint32_t chunk) {
  const uint32_t quarter = head_dim / 64;  // full chunks per lane quarter
  const uint32_t tail = head_dim / 16 % 4;
  if (chunk < 4 * quarter) {
    const uint32_t e = token % 16;
    const uint32_t g = 2 * (token / 16) + ((e >> 1) & 1);
    const uint32_t slot = ((e >> 2) << 1) | (e & 1);
    const uint32_t lane = code_order_internal::FullGroupLane(g, chunk / quarter);
    return code_order_internal::Place(chunk % quarter, 4, slot / 4, lane, slot % 4);
  }
  return code_order_internal::Place(quarter, tail, token / 32, token % 32, chunk - 4 * quarter);
}

// V: the atom of `dim` that holds tokens 16*quarter .. 16*quarter+15 of the tile.
POLARKV_HOST_DEVICE constexpr AtomPlace ValueAtom(uint32_t head_dim, uint32_t dim, uint32_t quarter) {
  const uint32_t group = dim / 64;
  const uint32_t width = group < head_dim / 64 ? 4 : head_dim / 16 % 4;
  const uint32_t x = dim % 64;
  const uint32_t y = x % (8 * width);
  const uint32_t g = y / width;
  const uint32_t lane = width == 4 ? code_order_internal::FullGroupLane(g, quarter) : 8 * quarter + g;
  return code_order_internal::Place(group, width, x / (8 * width), lane, y % width);
}

// Bit position, inside its 32-bit word, of the low bit of the 2-bit crumb of an atom's code c (0..15). Codes descend with
// the bits, so that a window over neighbouring codes (trellis codes) is a funnel shift.
POLARKV_HOST_DEVICE constexpr uint32_t CrumbShift(uint32_t c) { return 2 * (15 - c); }

// Bit position of code c of the atom in half `vector` in the first and second refinement plane. Chosen so that four words
// A, B, P1, P0 become four words of nibbles with six three-input logic operations and no shift.
POLARKV_HOST_DEVICE constexpr uint32_t FirstRefineShift(uint32_t vector, uint32_t c) {
  const uint32_t crumb = 15 - c;
  return 4 * (crumb / 2) + (crumb % 2 == 0 ? 2 : 0) + vector;
}
POLARKV_HOST_DEVICE constexpr uint32_t SecondRefineShift(uint32_t vector, uint32_t c) {
  const uint32_t crumb = 15 - c;
  return 4 * (crumb / 2) + (crumb % 2 == 0 ? 3 : 1) - vector;
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_CODE_ORDER_H_
