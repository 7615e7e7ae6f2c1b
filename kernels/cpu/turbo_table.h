// Byte-permute tables that turn assembled nibble words into centroids (codec/code_order.h).
#ifndef POLARKV_KERNELS_CPU_TURBO_TABLE_H_
#define POLARKV_KERNELS_CPU_TURBO_TABLE_H_

#include <cstdint>

namespace polarkv {
struct TrellisCodebook;
struct TurboCodebook;
}

namespace polarkv::cpu {

// How the bits of one side's codes make four words of nibbles. Turbo codes by the bits as read, signs being turbo codes of one bit.
enum class CodeKind : uint8_t {
  kNone,  // no codes: scores come from elsewhere
  kTurbo1,
  kTurbo2,
  kTurbo3,
  kTurbo4,
  kTurbo5,
  kTrellis1,
  kTrellis2,
  kTrellis3
};
inline constexpr uint32_t kCodeKinds = 9;

// The words A, B (crumbs) and P1, P0 (refinement bits) become four nibble words u0..u3; what the bits of a nibble mean
// depends on the word:   u0: P0 P1 crumb   u1: crumb P0 P1   u2: P1 P0 crumb   u3: crumb P1 P0   (high bit first).
// With fewer planes the nibbles hold other bits in the places of the missing ones; the tables ignore them. A fifth bit is
// bit 4 of an index. A word of P1 alone holds four codes of one bit in a nibble: bits 2, 0, 3, 1 for u0..u3.
inline constexpr uint32_t kNibbleWords = 4;

// Sixteen entries, four times over: a permute that looks at six index bits then ignores the neighbouring nibble's two.
// (Five bits: 32 entries, twice.)
struct alignas(64) TurboTable {
  int8_t entry[kNibbleWords][64];
};

// Entries are the codebook's image plus `offset` (128 for the unsigned operand of a dot product, modulo 256).
TurboTable MakeTurboTable(const TurboCodebook& book, int offset);
// Likewise for the windows of codes of `bits` bits (FORMAT.md, "Trellis codes").
TurboTable MakeTrellisTable(const TrellisCodebook& book, uint32_t bits, int offset);

// First code (of an atom's sixteen) in a decoded dword of a nibble word: low nibbles, then high nibbles. The dword's
// bytes 0..3 hold codes first, first-4, first-8, first-12.
inline constexpr uint32_t kDwordFirstCode[2][2] = {{15, 13}, {14, 12}};  // [word % 2][high nibble]

// The order in which scores of a tile come out (the lanes of the keys' lines), and how it becomes the values' order.
struct alignas(64) ScoreOrder {
  uint8_t token[64];          // of each score
  uint8_t place[64];          // of each token's score
  // For byte i of the values' weights, [quarter][dword of kDwordFirstCode][byte]: which of the scores, packed to bytes by
  // two saturating packs of 512 bits, it is.
  uint8_t packed_weight_source[64];
};

inline constexpr ScoreOrder kScoreOrder = [] {
  ScoreOrder order{};
  auto& place = order.place;
  for (uint8_t token = 0; token < 64; ++token) {
    const uint8_t e = token % 16, t = token / 16;
    const uint8_t lane = static_cast<uint8_t>((t & 1) << 3 | (e >> 1 & 1) << 2 | (e >> 2 & 1) << 1 | (e & 1));
    place[token] = static_cast<uint8_t>(16 * ((e >> 3) * 2 + t / 2) + lane);
    order.token[place[token]] = token;
  }
  for (uint32_t i = 0; i < 64; ++i) {
    const uint32_t quarter = i / 16, dword = i / 4 % 4, byte = i % 4;
    const uint32_t score = place[16 * quarter + kDwordFirstCode[dword / 2][dword % 2] - 4 * byte];
    // Packing makes the 128-bit lane L of vector v, four scores, dword v of lane L.
    order.packed_weight_source[i] = static_cast<uint8_t>(score % 16 / 4 * 16 + score / 16 * 4 + score % 4);
  }
  return order;
}();

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_TABLE_H_
