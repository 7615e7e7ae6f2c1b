// The two products of a tile, scores and weighted values, on the codes of a turbo or trellis side as integers. Which kind of
// codes a side has is either known to the compiler or, with kAnyCodes, read from the tables: one branch a side and tile, the
// same for all lanes, instead of a kernel for each pair of codecs.
#ifndef POLARKV_KERNELS_CUDA_TILE_PRODUCTS_H_
#define POLARKV_KERNELS_CUDA_TILE_PRODUCTS_H_

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/code_words.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

// Integer scores accumulate on top of these bits: read as a float they are 1.5 * 2^23 + score, exact below 2^22.
inline constexpr int32_t kScoreBias = 0x4B400000;
inline constexpr float kScoreBiasFloat = 12582912.0f;

template <class W>
POLARKV_WARP_FUNCTION typename W::F32 UnbiasedScore(typename W::I32 score) {
  return W::AsF32(score) - kScoreBiasFloat;
}
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 UnbiasedScore(typename W::F32 score) {
  return score;
}
template <class W, int kKeyKind>
using KeyScore = std::conditional_t<kKeyKind == kPolar44, typename W::F32, typename W::I32>;

// Queries of 8 rows as operand B: [64-dim group]. Lane (g, t): row g, chunk t * groups + group, codes as in
// code_words.h.
template <class W, int kDim>
struct QueryOperand {
  VectorOperand<W> group[kDim / 64];
  typename W::F32 scale[2];  // of columns 2t, 2t + 1: integer score x key scale -> log2 of the weight
};

// The same in memory, for keys whose queries would fill the registers: rows as sign_keys.h and polar_keys.h say.
template <class W>
struct RowQueries {
  const uint8_t* rows;
  typename W::F32 scale[2];
};
template <class W, int kDim, int kKeyKind>
using KeyQueries =
    std::conditional_t<kKeyKind == kPolar44 || IsSignKind(kKeyKind), RowQueries<W>, QueryOperand<W, kDim>>;

// A lane's 16 codes of a query's chunk as operand B, in the order of code_words.h.
template <class W>
POLARKV_WARP_FUNCTION VectorOperand<W> ChunkOperand(const Words4<W>& codes) {
  VectorOperand<W> operand;
  POLARKV_UNROLL
  for (int half = 0; half < 2; ++half) {
    operand.b[0][half] = W::Permute(codes.w[2 - 2 * half], codes.w[3 - 2 * half], 0x1357u);
    operand.b[1][half] = W::Permute(codes.w[2 - 2 * half], codes.w[3 - 2 * half], 0x0246u);
  }
  return operand;
}

// Unfinished output of 8 rows. o[group][w]: dims 64 * group + 4g + w (first two: columns 2t, 2t + 1) and + 32 (last
// two).
template <class W, int kDim>
struct OutputState {
  typename W::F32 o[kDim / 64][4][4];
  typename W::F32 reference[2];  // log2 of the weight that o and sum are relative to
  typename W::F32 sum[2];        // this lane's share of the sum of weights

  POLARKV_WARP_FUNCTION void Clear() {
    POLARKV_UNROLL
    for (auto& group : o) {
      POLARKV_UNROLL
      for (auto& word : group) {
        POLARKV_UNROLL
        for (auto& value : word) value = 0.0f;
      }
    }
    POLARKV_UNROLL
    for (int c = 0; c < 2; ++c) {
      reference[c] = -1e30f;
      sum[c] = 0.0f;
    }
  }
};

// A lane's words of one group of 64 coordinates of a side.
template <class W>
struct GroupWords {
  Words4<W> a, b, p1, p0;  // trellis1 has its rings in `a` alone
};

template <int kKind, class W, class Source>
POLARKV_WARP_FUNCTION GroupWords<W> KeyWords(const Source& tile, int group) {
  GroupWords<W> words{};
  if constexpr (kKind == kTrellis1) {
    words.a = tile.KeyVector(group);
  } else {
    words.a = tile.KeyBase(group, 0);
    words.b = tile.KeyBase(group, 1);
    if constexpr (BitsOfKind(kKind) >= 3) words.p1 = tile.KeyRefine(1, group);
    if constexpr (BitsOfKind(kKind) >= 4) words.p0 = tile.KeyRefine(0, group);
  }
  return words;
}
template <int kKind, class W, class Source>
POLARKV_WARP_FUNCTION GroupWords<W> ValueWords(const Source& tile, int group) {
  GroupWords<W> words{};
  if constexpr (kKind == kTrellis1) {
    words.a = tile.ValueVector(group);
  } else {
    words.a = tile.ValueBase(group, 0);
    words.b = tile.ValueBase(group, 1);
    if constexpr (BitsOfKind(kKind) >= 3) words.p1 = tile.ValueRefine(1, group);
    if constexpr (BitsOfKind(kKind) >= 4) words.p0 = tile.ValueRefine(0, group);
  }
  return words;
}

// Adds to S of the tile for each group of 8 rows: scores[n][w] = slots w (first two) and 4 + w (last two).
// Source: Words4 KeyBase(group, vector), KeyRefine(plane, group); of trellis1 KeyVector(group).
template <class W, int kDim, int kKind, int kRowGroups, class Source>
POLARKV_WARP_FUNCTION void AddScores(const Source& tile, const PermuteTables<kKind>& tables,
                                     const QueryOperand<W, kDim> (&queries)[kRowGroups],
                                     typename W::I32 (&scores)[kRowGroups][4][4]) {
  POLARKV_UNROLL
  for (int group = 0; group < kDim / 64; ++group) {
    const GroupWords<W> words = KeyWords<kKind, W>(tile, group);
    POLARKV_UNROLL
    for (int w = 0; w < 4; ++w) {
      const auto codes = DecodeFragment<kKind, W>(tables, words.a.w[w], words.b.w[w], words.p1.w[w], words.p0.w[w]);
      POLARKV_UNROLL
      for (int n = 0; n < kRowGroups; ++n) {
        Accumulate<true, kKind, W>(codes, OperandFor<kKind, W>(queries[n].group[group]), scores[n][w]);
      }
    }
  }
}

// S of the tile, biased.
template <class W, int kDim, int kKind, int kRowGroups, class Source>
POLARKV_WARP_FUNCTION void ScoreTile(const Source& tile, const PermuteTables<kKind>& tables,
                                     const QueryOperand<W, kDim> (&queries)[kRowGroups],
                                     typename W::I32 (&scores)[kRowGroups][4][4]) {
  POLARKV_UNROLL
  for (int i = 0; i < kRowGroups * 16; ++i) scores[i / 16][i / 4 % 4][i % 4] = kScoreBias;
  if constexpr (kKind == kAnyCodes) {
    switch (tables.kind) {
      case kTurbo2:
        return AddScores<W, kDim>(tile, tables.template As<kTurbo2>(), queries, scores);
      case kTurbo3:
        return AddScores<W, kDim>(tile, tables.template As<kTurbo3>(), queries, scores);
      case kTurbo4:
        return AddScores<W, kDim>(tile, tables.template As<kTurbo4>(), queries, scores);
      case kTrellis1:
        return AddScores<W, kDim>(tile, tables.template As<kTrellis1>(), queries, scores);
      case kTrellis2:
        return AddScores<W, kDim>(tile, tables.template As<kTrellis2>(), queries, scores);
      default:
        return AddScores<W, kDim>(tile, tables.template As<kTrellis3>(), queries, scores);
    }
  } else {
    AddScores<W, kDim>(tile, tables, queries, scores);
  }
}

// P as operand B of the value product: [high, low byte] of P16; lane (g, t): column g, tokens 16t + code.
template <class W>
struct WeightOperand {
  VectorOperand<W> high, low;
};

// Adds the tile's weighted values. Source: Words4 ValueBase(group, vector), ValueRefine(plane, group); of trellis1
// ValueVector(group).
template <class W, int kDim, int kKind, int kRowGroups, class Source>
POLARKV_WARP_FUNCTION void AddValuesOf(const Source& tile, const PermuteTables<kKind>& tables,
                                       const WeightOperand<W> (&weights)[kRowGroups],
                                       const typename W::F32 (&factor)[kRowGroups][2],
                                       OutputState<W, kDim> (&state)[kRowGroups]) {
  POLARKV_UNROLL
  for (int group = 0; group < kDim / 64; ++group) {
    const GroupWords<W> words = ValueWords<kKind, W>(tile, group);
    POLARKV_UNROLL
    for (int w = 0; w < 4; ++w) {
      const auto codes = DecodeFragment<kKind, W>(tables, words.a.w[w], words.b.w[w], words.p1.w[w], words.p0.w[w]);
      POLARKV_UNROLL
      for (int n = 0; n < kRowGroups; ++n) {
        typename W::I32 acc[4] = {0, 0, 0, 0};
        Accumulate<false, kKind, W>(codes, OperandFor<kKind, W>(weights[n].high), acc);
        POLARKV_UNROLL
        for (auto& value : acc) value = value << 8;
        Accumulate<false, kKind, W>(codes, OperandFor<kKind, W>(weights[n].low), acc);
        POLARKV_UNROLL
        for (int i = 0; i < 4; ++i) {
          auto& out = state[n].o[group][w][i];
          out = W::Fma(W::ToFloat(acc[i]), factor[n][i % 2], out);
        }
      }
    }
  }
}

template <class W, int kDim, int kKind, int kRowGroups, class Source>
POLARKV_WARP_FUNCTION void AddValues(const Source& tile, const PermuteTables<kKind>& tables,
                                     const WeightOperand<W> (&weights)[kRowGroups],
                                     const typename W::F32 (&factor)[kRowGroups][2],
                                     OutputState<W, kDim> (&state)[kRowGroups]) {
  if constexpr (kKind == kAnyCodes) {
    switch (tables.kind) {
      case kTurbo2:
        return AddValuesOf<W, kDim>(tile, tables.template As<kTurbo2>(), weights, factor, state);
      case kTurbo3:
        return AddValuesOf<W, kDim>(tile, tables.template As<kTurbo3>(), weights, factor, state);
      case kTurbo4:
        return AddValuesOf<W, kDim>(tile, tables.template As<kTurbo4>(), weights, factor, state);
      case kTrellis1:
        return AddValuesOf<W, kDim>(tile, tables.template As<kTrellis1>(), weights, factor, state);
      case kTrellis2:
        return AddValuesOf<W, kDim>(tile, tables.template As<kTrellis2>(), weights, factor, state);
      default:
        return AddValuesOf<W, kDim>(tile, tables.template As<kTrellis3>(), weights, factor, state);
    }
  } else {
    AddValuesOf<W, kDim>(tile, tables, weights, factor, state);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TILE_PRODUCTS_H_
