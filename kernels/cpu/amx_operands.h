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
#include "kernels/cpu/tile_scores_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kMaxGroups = 4;           // of 64 coordinates
constexpr uint32_t kMaxPassRows = kAmxRows;  // query rows that one product takes
constexpr uint32_t kOperandBytes = kAmxRows * kAmxRowBytes;

// What a pass over a tile works on. At 128 coordinates 31 KiB: a first-level cache holds it beside the codes.
struct alignas(64) AmxOperands {
  int8_t queries[kMaxPassRows * kMaxGroups * 64];  // [row][head_dim]
  int8_t keys[4 * kMaxGroups][kOperandBytes];      // [group][score vector]
  RowScores scores[kMaxPassRows];
  int32_t weights[kMaxPassRows][16];
  int8_t values[4 * kMaxGroups][kOperandBytes];    // [16 dims]
  int32_t sums[4 * kMaxGroups][kMaxPassRows][16];  // [16 dims][row]
};

// Four rows of operand B from each half of a line: of vector A's atoms and of vector B's.
template <typename Lines>
[[gnu::always_inline]] inline void DecodeRows(const Lines& lines, uint32_t group, uint32_t line, int8_t* a_rows, int8_t* b_rows) {
  ForEachPair(lines, FullLine(group, line), [&](uint32_t i, __m512i a, __m512i b) __attribute__((always_inline)) {
    _mm512_store_si512(a_rows + i * kAmxRowBytes, a);
    _mm512_store_si512(b_rows + i * kAmxRowBytes, b);
  });
}

// Keys: chunk quarter * groups + group of 16 coordinates is four rows of one operand; vector 2 * e3 + T1 of the scores (see
// RowScores) has the tokens of half e3 of the lines with T1.
template <typename Lines>
void DecodeKeys(const TileSide& side, AmxOperands& to) {
  const Lines lines(side);
  const uint32_t groups = side.head_dim / 64;
  for (uint32_t chunk = 0; chunk < 4 * groups; ++chunk) {
    int8_t(*keys)[kOperandBytes] = to.keys + chunk / 4 * 4;
    const uint32_t row = chunk % 4 * 4 * kAmxRowBytes;
    for (uint32_t t1 = 0; t1 < 2; ++t1) {
      DecodeRows(lines, chunk % groups, 4 * t1 + chunk / groups, keys[t1] + row, keys[2 + t1] + row);
    }
  }
}

// Values: a quarter of the tile's tokens is four rows; lane order is dim order.
template <typename Lines>
void DecodeValues(const TileSide& side, AmxOperands& to) {
  const Lines lines(side);
  for (uint32_t group = 0; group < side.head_dim / 64; ++group) {
    int8_t(*values)[kOperandBytes] = to.values + 4 * group;
    for (uint32_t line = 0; line < kLinesPerVector; ++line) {
      const uint32_t row = line % 4 * 4 * kAmxRowBytes;
      DecodeRows(lines, group, line, values[line / 4] + row, values[2 + line / 4] + row);
    }
  }
}

// By kind of codes.
using DecodeOperand = void(const TileSide& side, AmxOperands& to);
constexpr DecodeOperand* kDecodeKeys[kCodeKinds] = {
    nullptr,
    DecodeKeys<CodeLines<CodeKind::kTurbo1>>,
    DecodeKeys<CodeLines<CodeKind::kTurbo2>>,
    DecodeKeys<CodeLines<CodeKind::kTurbo3>>,
    DecodeKeys<CodeLines<CodeKind::kTurbo4>>,
    DecodeKeys<CodeLines<CodeKind::kTurbo5>>,
    DecodeKeys<CodeLines<CodeKind::kTrellis1>>,
    DecodeKeys<CodeLines<CodeKind::kTrellis2>>,
    DecodeKeys<CodeLines<CodeKind::kTrellis3>>};
constexpr DecodeOperand* kDecodeValues[kCodeKinds] = {
    nullptr,
    DecodeValues<CodeLines<CodeKind::kTurbo1>>,
    DecodeValues<CodeLines<CodeKind::kTurbo2>>,
    DecodeValues<CodeLines<CodeKind::kTurbo3>>,
    DecodeValues<CodeLines<CodeKind::kTurbo4>>,
    DecodeValues<CodeLines<CodeKind::kTurbo5>>,
    DecodeValues<CodeLines<CodeKind::kTrellis1>>,
    DecodeValues<CodeLines<CodeKind::kTrellis2>>,
    DecodeValues<CodeLines<CodeKind::kTrellis3>>};

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
  unit.template Store<0>(&operands.scores[0][0], sizeof(RowScores));
  unit.template Store<1>(&operands.scores[0][1], sizeof(RowScores));
  unit.template Store<2>(&operands.scores[0][2], sizeof(RowScores));
  unit.template Store<3>(&operands.scores[0][3], sizeof(RowScores));
}

// Weighted sums of the tile whose values are decoded.
template <class Unit>
[[gnu::always_inline]] inline void MultiplyValues(Unit& unit, uint32_t groups, AmxOperands& operands) {
  unit.template Load<kA>(operands.weights, kAmxRowBytes);
  for (uint32_t group = 0; group < groups; ++group) {
    const int8_t(*values)[kOperandBytes] = operands.values + 4 * group;
    int32_t(*sums)[kMaxPassRows][16] = operands.sums + 4 * group;
    ZeroSums(unit);
    unit.template Load<kB0>(values[0], kAmxRowBytes);
    unit.template DotU8S8<0, kA, kB0>();
    unit.template Load<kB1>(values[1], kAmxRowBytes);
    unit.template DotU8S8<1, kA, kB1>();
    unit.template Load<kB0>(values[2], kAmxRowBytes);
    unit.template DotU8S8<2, kA, kB0>();
    unit.template Load<kB1>(values[3], kAmxRowBytes);
    unit.template DotU8S8<3, kA, kB1>();
    unit.template Store<0>(sums[0], kAmxRowBytes);
    unit.template Store<1>(sums[1], kAmxRowBytes);
    unit.template Store<2>(sums[2], kAmxRowBytes);
    unit.template Store<3>(sums[3], kAmxRowBytes);
  }
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_OPERANDS_H_
