// Tiles of codes and of weights as operands of AMX products. For sources compiled with AVX-512 and VBMI.
//
// A decoded 64-byte line is 16 dwords of 4 codes, each dword of another row of the code order (codec/code_order.h), all of
// the same place on the contraction axis: a row of operand B as TDPBSSD and TDPBUSD want it, with the code order's rows in
// its columns. So lines are stored where they fall and nothing is shuffled; what is permuted is the contraction axis,
// and query words and weights come in that order already (kDwordFirstCode of turbo_table.h).
//
//   scores  = queries x keys:   A = 16 rows x 64 coordinates, B = 64 coordinates x 16 tokens, head_dim / 64 times
//   outputs = weights x values: A = 16 rows x 64 tokens,      B = 64 tokens x 16 dims
#ifndef POLARKV_KERNELS_CPU_AMX_OPERANDS_H_
#define POLARKV_KERNELS_CPU_AMX_OPERANDS_H_

#include "kernels/cpu/amx_tile_config.h"
#include "kernels/cpu/turbo_words_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kMaxGroups = 4;           // of 64 coordinates
constexpr uint32_t kMaxPassRows = kAmxRows;  // query rows that one product takes
constexpr uint32_t kOperandBytes = kAmxRows * kAmxRowBytes;

// What a pass over a tile works on. At 128 coordinates 31 KiB: a first-level cache holds it beside the codes.
struct alignas(64) AmxOperands {
  int8_t queries[kMaxPassRows * kMaxGroups * 64];  // [row][head_dim]
  int8_t keys[4 * kMaxGroups][kOperandBytes];      // [group][score vector]
  int32_t scores[4][kMaxPassRows][16];             // [score vector][row]
  uint8_t weights[kMaxPassRows][64];
  int8_t values[4 * kMaxGroups][kOperandBytes];       // [16 dims]
  int32_t sums[4 * kMaxGroups][kMaxPassRows][16];     // [16 dims][row]
};

// One side of one tile.
struct CodePlanes {
  const uint8_t* crumbs;
  const uint8_t* refine1;  // null below 3 bits
  const uint8_t* refine0;  // null below 4 bits
};

// Four rows of operand B from each half of a decoded line: of vector A's atoms and of vector B's.
[[gnu::always_inline]] inline void StoreRows(const __m512i bytes[4][2], int8_t* a, int8_t* b) {
  for (int word = 0; word < 4; ++word) {
    int8_t* rows = (word < 2 ? a : b) + word % 2 * 2 * kAmxRowBytes;
    _mm512_store_si512(rows, bytes[word][0]);
    _mm512_store_si512(rows + kAmxRowBytes, bytes[word][1]);
  }
}

template <int kBits>
[[gnu::always_inline]] inline void DecodeLine(const CodePlanes& planes, const __m512i table[4], uint32_t group, uint32_t line,
                                              __m512i bytes[4][2]) {
  const uint32_t refine = (group * kLinesPerVector + line) * kLineBytes;
  Decode<kBits>(table, planes.crumbs + (group * 2 * kLinesPerVector + line) * kLineBytes,
                kBits >= 3 ? planes.refine1 + refine : nullptr, kBits == 4 ? planes.refine0 + refine : nullptr, bytes);
}

// Keys: chunk quarter * groups + group of 16 coordinates is four rows of one operand; score vector 2 * e3 + T1 (see
// kScoreOrder) has the tokens of half e3 of the lines with T1.
template <int kBits>
[[gnu::always_inline]] inline void DecodeKeys(const CodePlanes& planes, const __m512i table[4], uint32_t groups,
                                              AmxOperands& to) {
  for (uint32_t chunk = 0; chunk < 4 * groups; ++chunk) {
    for (uint32_t t1 = 0; t1 < 2; ++t1) {
      __m512i bytes[4][2];
      DecodeLine<kBits>(planes, table, chunk % groups, 4 * t1 + chunk / groups, bytes);
      const uint32_t row = chunk % 4 * 4 * kAmxRowBytes;
      StoreRows(bytes, to.keys[chunk / 4 * 4 + t1] + row, to.keys[chunk / 4 * 4 + 2 + t1] + row);
    }
  }
}

// Values: a quarter of the tile's tokens is four rows; lane order is dim order.
template <int kBits>
[[gnu::always_inline]] inline void DecodeValues(const CodePlanes& planes, const __m512i table[4], uint32_t groups,
                                                AmxOperands& to) {
  for (uint32_t group = 0; group < groups; ++group) {
    for (uint32_t line = 0; line < kLinesPerVector; ++line) {
      __m512i bytes[4][2];
      DecodeLine<kBits>(planes, table, group, line, bytes);
      const uint32_t row = line % 4 * 4 * kAmxRowBytes;
      StoreRows(bytes, to.values[4 * group + line / 4] + row, to.values[4 * group + 2 + line / 4] + row);
    }
  }
}

// Registers 0 to 3: sums of four independent products, which hides their latency; 4 and 5: operand B; 6: operand A.
constexpr int kB0 = 4, kB1 = 5, kA = 6;

inline AmxTileConfig ConfigFor(uint32_t rows) {
  AmxTileConfig config = {};
  for (uint32_t i = 0; i <= kA; ++i) {
    config.rows[i] = static_cast<uint8_t>(i == kB0 || i == kB1 ? kAmxRows : rows);
    config.row_bytes[i] = kAmxRowBytes;
  }
  return config;
}

template <class Unit>
[[gnu::always_inline]] inline void ZeroSums(Unit& unit) {
  unit.template Zero<0>();
  unit.template Zero<1>();
  unit.template Zero<2>();
  unit.template Zero<3>();
}

template <class Unit>
[[gnu::always_inline]] inline void StoreSums(Unit& unit, int32_t (*to)[kMaxPassRows][16]) {
  unit.template Store<0>(to[0], kAmxRowBytes);
  unit.template Store<1>(to[1], kAmxRowBytes);
  unit.template Store<2>(to[2], kAmxRowBytes);
  unit.template Store<3>(to[3], kAmxRowBytes);
}

// Scores of the tile whose keys are decoded.
template <class Unit>
[[gnu::always_inline]] inline void MultiplyKeys(Unit& unit, uint32_t groups, AmxOperands& operands) {
  ZeroSums(unit);
  for (uint32_t group = 0; group < groups; ++group) {
    const int8_t(*keys)[kOperandBytes] = operands.keys + 4 * group;
    unit.template Load<kA>(operands.queries + 64 * group, 64 * groups);
    unit.template Load<kB0>(keys[0], kAmxRowBytes);
    unit.template DotS8S8<0, kA, kB0>();
    unit.template Load<kB1>(keys[1], kAmxRowBytes);
    unit.template DotS8S8<1, kA, kB1>();
    unit.template Load<kB0>(keys[2], kAmxRowBytes);
    unit.template DotS8S8<2, kA, kB0>();
    unit.template Load<kB1>(keys[3], kAmxRowBytes);
    unit.template DotS8S8<3, kA, kB1>();
  }
  StoreSums(unit, operands.scores);
}

// Weighted sums of the tile whose values are decoded.
template <class Unit>
[[gnu::always_inline]] inline void MultiplyValues(Unit& unit, uint32_t groups, AmxOperands& operands) {
  unit.template Load<kA>(operands.weights, kAmxRowBytes);
  for (uint32_t group = 0; group < groups; ++group) {
    const int8_t(*values)[kOperandBytes] = operands.values + 4 * group;
    ZeroSums(unit);
    unit.template Load<kB0>(values[0], kAmxRowBytes);
    unit.template DotU8S8<0, kA, kB0>();
    unit.template Load<kB1>(values[1], kAmxRowBytes);
    unit.template DotU8S8<1, kA, kB1>();
    unit.template Load<kB0>(values[2], kAmxRowBytes);
    unit.template DotU8S8<2, kA, kB0>();
    unit.template Load<kB1>(values[3], kAmxRowBytes);
    unit.template DotU8S8<3, kA, kB1>();
    StoreSums(unit, operands.sums + 4 * group);
  }
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_OPERANDS_H_
