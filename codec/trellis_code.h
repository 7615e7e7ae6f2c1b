// The trellis codes' tables and the places of their bits (FORMAT.md, "Trellis codes").
//
// A chain of codes is a ring of symbols of K = 1, 2 or 3 bits. What a code stands for is looked up by its window: the
// last four bits of the ring up to and including its symbol. So a table of 16 entries gives 2^K choices a coordinate
// that depend on what came before, and a search over the ring finds codes with 17 to 24 % less error than the best
// scalar quantizer's. Host and device code.
#ifndef POLARKV_CODEC_TRELLIS_CODE_H_
#define POLARKV_CODEC_TRELLIS_CODE_H_

#include <array>
#include <cstdint>

#include "codec/code_order.h"
#include "codec/codec_number.h"

namespace polarkv {

inline constexpr uint32_t kTrellisWindows = 16;

inline constexpr bool IsTrellis(CodecId id) {
  return id == CodecId::kTrellis1 || id == CodecId::kTrellis2 || id == CodecId::kTrellis3;
}
inline constexpr uint32_t TrellisBits(CodecId id) {
  return id == CodecId::kTrellis1 ? 1 : id == CodecId::kTrellis2 ? 2 : 3;
}

struct TrellisCodebook {
  std::array<int8_t, kTrellisWindows> image;  // by window; image[15 - w] = -image[w]
  float unit;                                 // what one image unit is worth in standard deviations, to the search
};

namespace trellis_code_internal {
constexpr TrellisCodebook FromLowerHalf(const std::array<int8_t, kTrellisWindows / 2>& images, float unit) {
  TrellisCodebook book{{}, unit};
  for (uint32_t w = 0; w < kTrellisWindows / 2; ++w) {
    book.image[w] = images[w];
    book.image[kTrellisWindows - 1 - w] = static_cast<int8_t>(-images[w]);
  }
  return book;
}
}  // namespace trellis_code_internal

// At most 126, so that a GPU's byte permutes can look 16 entries up as two tables of which one yields -1
// (kernels/cuda).
inline constexpr TrellisCodebook kTrellis1 =
    trellis_code_internal::FromLowerHalf({105, -37, -26, 126, 30, -116, -81, 39}, 1.391007f / 126);
inline constexpr TrellisCodebook kTrellis2 =
    trellis_code_internal::FromLowerHalf({82, -126, -43, 18, 29, -51, -1, 78}, 2.129650f / 126);
inline constexpr TrellisCodebook kTrellis3 =
    trellis_code_internal::FromLowerHalf({48, -90, -46, 71, 0, -23, -126, 23}, 2.427121f / 126);

inline constexpr const TrellisCodebook& TrellisCodebookFor(uint32_t bits) {
  return bits == 1 ? kTrellis1 : bits == 2 ? kTrellis2 : kTrellis3;
}

// Rings: 16 codes of one atom at 2 and 3 bits; at 1 bit the 32 codes of the two atoms that share a refinement word,
// those of vector A first.
inline constexpr uint32_t TrellisRing(uint32_t bits) { return bits == 1 ? 32 : 16; }

// 1 bit: position of code c of an atom in vector A (0) or B (1) in the word of its ring.
POLARKV_HOST_DEVICE constexpr uint32_t TrellisRingShift(uint32_t vector, uint32_t c) { return 31 - 16 * vector - c; }

// 3 bits: position of the lowest bit of code c's symbol; its upper two bits are the crumb. With X a word of crumbs and
// P that of low bits, the sixteen windows are the nibbles of two words for each atom:
//   A, odd codes:  X & 0x33333333 | P & 0xCCCCCCCC      A, even codes: ror(X, 1) & 0x66666666 | ror(P, 3) & 0x99999999
//   B, even codes: X & 0xCCCCCCCC | P & 0x33333333      B, odd codes:  rol(X, 1) & 0x66666666 | rol(P, 3) & 0x99999999
POLARKV_HOST_DEVICE constexpr uint32_t TrellisLowShift(uint32_t vector, uint32_t c) {
  const uint32_t n = 15 - c;
  if (vector == 0) return 2 * n + (n % 2 == 0 ? 2 : 1);
  return (2 * n + (n % 2 == 0 ? 29 : 30)) % 32;
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_TRELLIS_CODE_H_
