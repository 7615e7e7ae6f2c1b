// Attention of a warp's query rows over one tile of 64 tokens, on the compressed words as they are.
//
//   scores   S[token][row] = codes(K) x int8 queries, integer matrix multiply; codes are operand A, decoded in
//   registers weights  p = 2^(S' - the tile's largest S'); P16 = round(65535/32768 * p * value scale), so that values
//   need no scale output   O[dim][row] += 2^(...) * (codes(V) x P16), exact integers inside the tile, fp32 across tiles
//
// Fragment coordinates: lane = 4 * g + t. Slot s (0..7) of a lane is token SlotToken(g, s); its columns are 2t, 2t + 1.
#ifndef POLARKV_KERNELS_CUDA_TILE_ATTENTION_H_
#define POLARKV_KERNELS_CUDA_TILE_ATTENTION_H_

#include <cmath>
#include <cstdint>

#include "codec/block_format.h"
#include "kernels/cuda/code_words.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

inline constexpr int kRowsPerGroup = 8;  // query rows that share one matrix multiply

// p is carried as p * kWeightUnit, so that p * scale, scale <= 32768, rounds to 16 bits.
inline constexpr float kWeightUnitLog2 = 0.99997799f;  // log2(65535 / 32768), rounded down
// The output's reference maximum is raised only when a tile's maximum passes it by this much (log2).
inline constexpr float kReferenceSlack = 12.0f;
// Integer scores accumulate on top of these bits: read as a float they are 1.5 * 2^23 + score, exact below 2^22.
inline constexpr int32_t kScoreBias = 0x4B400000;
inline constexpr float kScoreBiasFloat = 12582912.0f;

// Queries of 8 rows as operand B: [64-dim group]. Lane (g, t): row g, chunk t * groups + group, codes as in
// code_words.h.
template <class W, int kDim>
struct QueryOperand {
  VectorOperand<W> group[kDim / 64];
  typename W::F32 scale[2];  // of columns 2t, 2t + 1: integer score x key scale -> log2 of the weight
};

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

// Values' scales are carried relative to that of code 255, times 2^kValueScaleLog2, so that P16 uses its bits.
inline constexpr int kValueScaleLog2 = 15;

// What a tile says about itself; uniform over the warp. A scale is 2^((code - 255) * step) times that of code 255, which
// is clamped to a normal float: a key or a value that the clamp touches is below the smallest normal number.
struct TileFacts {
  float k_factor;  // scale of code 255
  float v_factor;  // likewise, divided by 2^kValueScaleLog2
  float k_step;    // octaves a code
  float v_step;
  uint32_t tokens;
};

POLARKV_WARP_FUNCTION float LargestScale(int base, int shift, int lift) {
  const int steps = (base + 255) * (1 << shift) - kScaleStepsPerOctave * lift;
  const int lowest = -126 * kScaleStepsPerOctave;
  return exp2f(static_cast<float>(steps < lowest ? lowest : steps) / kScaleStepsPerOctave);
}

POLARKV_WARP_FUNCTION TileFacts MakeTileFacts(const TileHead& head) {
  return {LargestScale(head.k_exponent, head.k_shift, 0), LargestScale(head.v_exponent, head.v_shift, kValueScaleLog2),
          static_cast<float>(1 << head.k_shift) / kScaleStepsPerOctave,
          static_cast<float>(1 << head.v_shift) / kScaleStepsPerOctave, head.tokens};
}

// The scale of the code in a byte of `codes`, relative to that of code 255, times 2^lift; 0 for code 0.
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 RelativeScale(typename W::U32 codes, uint32_t byte, float step, float lift) {
  using F32 = typename W::F32;
  // The byte under the exponent of 2^23 is that float plus the code.
  const F32 code = W::AsF32(W::Permute(codes, typename W::U32(0x4B000000u), typename W::U32(0x7440u | byte))) - 8388608.0f;
  return W::Select(code > F32(0.0f), W::Exp2(W::Fma(code, F32(step), F32(lift - 255.0f * step))), F32(0.0f));
}

template <class W>
POLARKV_WARP_FUNCTION typename W::U32 SlotToken(typename W::U32 lane, int slot) {
  const typename W::U32 g = lane >> 2;
  return ((g >> 1) << 4) + ((g & 1u) << 1) + static_cast<uint32_t>(4 * (slot / 2) + slot % 2);
}

// S of the tile for each group of 8 rows: scores[n][w] = slots w (first two) and 4 + w (last two).
// Source: Words4 KeyBase(group, vector), KeyRefine(plane, group).
template <class W, int kDim, int kBits, int kRowGroups, class Source>
POLARKV_WARP_FUNCTION void ScoreTile(const Source& tile, const PermuteTables<kBits>& tables,
                                     const QueryOperand<W, kDim> (&queries)[kRowGroups],
                                     typename W::I32 (&scores)[kRowGroups][4][4]) {
  POLARKV_UNROLL
  for (int i = 0; i < kRowGroups * 16; ++i) scores[i / 16][i / 4 % 4][i % 4] = kScoreBias;
  POLARKV_UNROLL
  for (int group = 0; group < kDim / 64; ++group) {
    const Words4<W> a = tile.KeyBase(group, 0), b = tile.KeyBase(group, 1);
    Words4<W> p1{}, p0{};
    if constexpr (kBits >= 3) p1 = tile.KeyRefine(1, group);
    if constexpr (kBits >= 4) p0 = tile.KeyRefine(0, group);
    POLARKV_UNROLL
    for (int w = 0; w < 4; ++w) {
      const auto codes = DecodeFragment<kBits, W>(tables, a.w[w], b.w[w], p1.w[w], p0.w[w]);
      POLARKV_UNROLL
      for (int n = 0; n < kRowGroups; ++n) Accumulate<true, kBits, W>(codes, queries[n].group[group], scores[n][w]);
    }
  }
}

// P as operand B of the value product: [high, low byte] of P16; lane (g, t): column g, tokens 16t + code.
template <class W>
struct WeightOperand {
  VectorOperand<W> high, low;
};

// Weights of one group of 8 rows from its scores. Updates the state's reference and sum; `factor`: what the tile's
// integer output is to be multiplied with, per column. Source: U32 KeyScales(pair), ValueScales(pair): in the low bytes
// the scale codes of the tokens of slots 2 * pair, 2 * pair + 1.
template <class W, int kDim, class Source>
POLARKV_WARP_FUNCTION WeightOperand<W> WeighTile(const Source& tile, const TileFacts& facts,
                                                 const typename W::F32 (&query_scale)[2],
                                                 const typename W::I32 (&scores)[4][4], OutputState<W, kDim>& state,
                                                 typename W::F32 (&factor)[2]) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  F32 x[8][2], value_scale[8];
  POLARKV_UNROLL
  for (int pair = 0; pair < 4; ++pair) {
    const U32 keys = tile.KeyScales(pair), values = tile.ValueScales(pair);
    const F32 key_scale[2] = {RelativeScale<W>(keys, 0, facts.k_step, 0), RelativeScale<W>(keys, 1, facts.k_step, 0)};
    value_scale[2 * pair] = RelativeScale<W>(values, 0, facts.v_step, kValueScaleLog2);
    value_scale[2 * pair + 1] = RelativeScale<W>(values, 1, facts.v_step, kValueScaleLog2);
    POLARKV_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int slot = 2 * pair + i / 2;
      x[slot][i % 2] = (W::AsF32(scores[slot % 4][slot / 4 * 2 + i % 2]) - kScoreBiasFloat) * key_scale[i / 2];
    }
  }
  if (facts.tokens < 64) {
    POLARKV_UNROLL
    for (int slot = 0; slot < 8; ++slot) {
      const auto padding = SlotToken<W>(W::Lane(), slot) >= U32(facts.tokens);
      x[slot][0] = W::Select(padding, F32(-INFINITY), x[slot][0]);
      x[slot][1] = W::Select(padding, F32(-INFINITY), x[slot][1]);
      value_scale[slot] = W::Select(padding, F32(0.0f), value_scale[slot]);
    }
  }
  F32 scale[2], shift[2];
  POLARKV_UNROLL
  for (int c = 0; c < 2; ++c) {
    F32 top = x[0][c];
    POLARKV_UNROLL
    for (int slot = 1; slot < 8; ++slot) top = W::Max(top, x[slot][c]);
    POLARKV_UNROLL
    for (int mask = 4; mask < 32; mask *= 2) top = W::Max(top, W::ShuffleXor(top, mask));
    // Kept away from zero and infinity, so that a masked or zero score never makes a NaN; logits that the bounds touch
    // are below 1e-18 or above 1e25.
    scale[c] = W::Min(W::Max(query_scale[c] * facts.k_factor, F32(1e-30f)), F32(1e25f));
    const F32 top_log2 = top * scale[c];
    shift[c] = F32(kWeightUnitLog2) - top_log2;
    factor[c] = top_log2;
  }
  if (W::Any(factor[0] > state.reference[0] + kReferenceSlack) ||
      W::Any(factor[1] > state.reference[1] + kReferenceSlack)) {
    POLARKV_UNROLL
    for (int c = 0; c < 2; ++c) {
      const F32 raised = W::Max(factor[c], state.reference[c]);
      const F32 shrink = W::Exp2(state.reference[c] - raised);
      state.reference[c] = raised;
      state.sum[c] = state.sum[c] * shrink;
      POLARKV_UNROLL
      for (auto& group : state.o) {
        POLARKV_UNROLL
        for (auto& word : group) {
          word[c] = word[c] * shrink;
          word[2 + c] = word[2 + c] * shrink;
        }
      }
    }
  }
  U32 packed[8];
  F32 sum[2] = {0.0f, 0.0f};
  POLARKV_UNROLL
  for (int slot = 0; slot < 8; ++slot) {
    F32 rounded[2];
    POLARKV_UNROLL
    for (int c = 0; c < 2; ++c) {
      const F32 p = W::Exp2(W::Fma(x[slot][c], scale[c], shift[c]));
      sum[c] = sum[c] + p;
      rounded[c] = W::Fma(p, value_scale[slot], F32(8388608.0f));  // its low 16 bits are the rounded product
    }
    packed[slot] = W::Transpose8x8(W::Permute(W::AsU32(rounded[0]), W::AsU32(rounded[1]), 0x5410u));
  }
  POLARKV_UNROLL
  for (int c = 0; c < 2; ++c) {
    const F32 weight = W::Exp2(factor[c] - state.reference[c]);
    state.sum[c] = W::Fma(sum[c], weight, state.sum[c]);
    factor[c] = weight * facts.v_factor;
  }
  // packed[slot] now holds column g, tokens 16t + 4 * (slot / 2) + slot % 2 (low half) and + 2 (high half).
  WeightOperand<W> weights;
  POLARKV_UNROLL
  for (int parity = 0; parity < 2; ++parity) {
    POLARKV_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int slot = (half == 0 ? 4 : 0) + (parity == 0 ? 1 : 0);
      weights.high.b[parity][half] = W::Permute(packed[slot], packed[slot + 2], 0x1357u);
      weights.low.b[parity][half] = W::Permute(packed[slot], packed[slot + 2], 0x0246u);
    }
  }
  return weights;
}

// Adds the tile's weighted values. Source: Words4 ValueBase(group, vector), ValueRefine(plane, group).
template <class W, int kDim, int kBits, int kRowGroups, class Source>
POLARKV_WARP_FUNCTION void AddValues(const Source& tile, const PermuteTables<kBits>& tables,
                                     const WeightOperand<W> (&weights)[kRowGroups],
                                     const typename W::F32 (&factor)[kRowGroups][2],
                                     OutputState<W, kDim> (&state)[kRowGroups]) {
  POLARKV_UNROLL
  for (int group = 0; group < kDim / 64; ++group) {
    const Words4<W> a = tile.ValueBase(group, 0), b = tile.ValueBase(group, 1);
    Words4<W> p1{}, p0{};
    if constexpr (kBits >= 3) p1 = tile.ValueRefine(1, group);
    if constexpr (kBits >= 4) p0 = tile.ValueRefine(0, group);
    POLARKV_UNROLL
    for (int w = 0; w < 4; ++w) {
      const auto codes = DecodeFragment<kBits, W>(tables, a.w[w], b.w[w], p1.w[w], p0.w[w]);
      POLARKV_UNROLL
      for (int n = 0; n < kRowGroups; ++n) {
        typename W::I32 acc[4] = {0, 0, 0, 0};
        Accumulate<false, kBits, W>(codes, weights[n].high, acc);
        POLARKV_UNROLL
        for (auto& value : acc) value = value << 8;
        Accumulate<false, kBits, W>(codes, weights[n].low, acc);
        POLARKV_UNROLL
        for (int i = 0; i < 4; ++i) {
          auto& out = state[n].o[group][w][i];
          out = W::Fma(W::ToFloat(acc[i]), factor[n][i % 2], out);
        }
      }
    }
  }
}

// The whole tile.
template <class W, int kDim, int kKeyBits, int kValueBits, int kRowGroups, class Source>
POLARKV_WARP_FUNCTION void AttendTile(const Source& tile, const TileFacts& facts,
                                      const PermuteTables<kKeyBits>& key_tables,
                                      const PermuteTables<kValueBits>& value_tables,
                                      const QueryOperand<W, kDim> (&queries)[kRowGroups],
                                      OutputState<W, kDim> (&state)[kRowGroups]) {
  typename W::I32 scores[kRowGroups][4][4];
  ScoreTile<W, kDim, kKeyBits, kRowGroups>(tile, key_tables, queries, scores);
  WeightOperand<W> weights[kRowGroups];
  typename W::F32 factor[kRowGroups][2];
  POLARKV_UNROLL
  for (int n = 0; n < kRowGroups; ++n) {
    weights[n] = WeighTile<W, kDim>(tile, facts, queries[n].scale, scores[n], state[n], factor[n]);
  }
  AddValues<W, kDim, kValueBits, kRowGroups>(tile, value_tables, weights, factor, state);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TILE_ATTENTION_H_
