// Attention of a warp's query rows over one tile of 64 tokens, on the compressed words as they are.
//
//   scores   S[token][row] = codes(K) x int8 queries, integer matrix multiply; codes are operand A, decoded in
//   registers
//   weights  p = 2^(S' - the tile's largest S'); P16 = round(65535 * p * value scale), so that values need no scale
//   output   O[dim][row] += 2^(...) * (codes(V) x P16), exact integers inside the tile, fp32 across tiles
//
// Fragment coordinates: lane = 4 * g + t. Slot s (0..7) of a lane is token SlotToken(g, s); its columns are 2t, 2t + 1.
#ifndef POLARKV_KERNELS_CUDA_TILE_ATTENTION_H_
#define POLARKV_KERNELS_CUDA_TILE_ATTENTION_H_

#include <cmath>
#include <cstdint>

#include "codec/block_format.h"
#include "kernels/cuda/tile_products.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

inline constexpr int kRowsPerGroup = 8;  // query rows that share one matrix multiply

// Weights times value scales, both relative to the tile's largest, are rounded to 16 bits.
inline constexpr float kWeightLevels = 65535.0f;
// The output's reference maximum is raised only when a tile's maximum passes it by this much (log2).
inline constexpr float kReferenceSlack = 12.0f;
// One side's scales: the scale of code c > 0 is factor * 2^((c - 255) * step), of code 0 it is 0 (FORMAT.md, "Scales").
template <class W>
struct ScaleFacts {
  typename W::F32 factor;  // clamped to a float: what the clamp touches is below the smallest or above the largest
  float step;              // octaves
};

// 2^octaves, subnormal numbers included, which Exp2 alone makes zeros of; clamped to what a float holds.
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 PowerOfTwo(float octaves) {
  const bool tiny = octaves < -100.0f;
  const typename W::F32 clamped = W::Min(W::Max(octaves, -149.0f), 127.0f);
  return W::Exp2(clamped + (tiny ? 64.0f : 0.0f)) * (tiny ? 0x1p-64f : 1.0f);
}

template <class W>
POLARKV_WARP_FUNCTION ScaleFacts<W> MakeScaleFacts(int32_t base, uint32_t shift) {
  const float step = static_cast<float>(1u << (shift & 7)) * (1.0f / static_cast<float>(kScaleStepsPerOctave));
  return {PowerOfTwo<W>(static_cast<float>(base + 255) * step), step};
}

// Of a side without scales: all is to be multiplied with 2^exponent.
template <class W>
POLARKV_WARP_FUNCTION ScaleFacts<W> MakeExponentFacts(int32_t exponent) {
  return {PowerOfTwo<W>(static_cast<float>(exponent)), 0.0f};
}

// What a tile says about itself; uniform over the warp.
template <class W>
struct TileFacts {
  ScaleFacts<W> key, value;
  uint32_t tokens;
  uint64_t left_out;  // tokens that are attended to elsewhere
  bool has_means = false;                // mean_logits: what key means add to scores (mean_logits.h)
  const uint8_t* mean_logits = nullptr;

  POLARKV_WARP_FUNCTION uint64_t Masked() const { return left_out | (tokens < 64 ? ~uint64_t{0} << tokens : 0); }
};

inline constexpr uint32_t kMeanLogitBytes = 2048;  // of 8 rows: [vector][lane], slots 2 * vector and + 1, columns 2t, 2t + 1

// x * scale + those of 8 rows, in log2 units: the scale becomes 1.
template <class W>
POLARKV_WARP_FUNCTION void AddMeanLogits(const uint8_t* logits, typename W::F32 (&x)[8][2],
                                         typename W::F32 (&scale)[2]) {
  POLARKV_UNROLL
  for (uint32_t v = 0; v < 4; ++v) {
    const Words4<W> words = W::LoadVector(logits, W::Lane() * 16u + 512 * v);
    POLARKV_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      auto& logit = x[2 * v + i / 2][i % 2];
      logit = W::Fma(logit, scale[i % 2], W::FloatOfBits(words.w[i]));
    }
  }
  scale[0] = scale[1] = 1.0f;
}

template <class W>
POLARKV_WARP_FUNCTION typename W::U32 SlotToken(typename W::U32 lane, int slot) {
  const typename W::U32 g = lane >> 2;
  return ((g >> 1) << 4) + ((g & 1u) << 1) + static_cast<uint32_t>(4 * (slot / 2) + slot % 2);
}

// Scales of the tokens of slots 2 * pair and 2 * pair + 1, relative to the tile's factor; `codes`: bits 0-7 and 8-15.
template <class W>
POLARKV_WARP_FUNCTION void RelativeScales(typename W::U32 codes, float step, typename W::F32 (&scale)[2]) {
  using F32 = typename W::F32;
  POLARKV_UNROLL
  for (int i = 0; i < 2; ++i) {
    const typename W::U32 code = i == 0 ? codes & 0xFFu : (codes >> 8) & 0xFFu;
    const F32 octaves = (W::ToFloat(W::AsI32(code)) - 255.0f) * step;
    scale[i] = W::Select(code > typename W::U32(0u), W::Exp2(octaves), F32(0.0f));
  }
}

// Makes the state relative to the largest of its reference and `top` (log2, per column) where that is far above it.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void RaiseReference(const typename W::F32 (&top)[2], OutputState<W, kDim>& state) {
  using F32 = typename W::F32;
  if (W::Any(top[0] > state.reference[0] + kReferenceSlack) ||
      W::Any(top[1] > state.reference[1] + kReferenceSlack)) {
    POLARKV_UNROLL
    for (int c = 0; c < 2; ++c) {
      const F32 raised = W::Max(top[c], state.reference[c]);
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
}

// Weights of one group of 8 rows from its scores. Updates the state's reference and sum; `factor`: what the tile's
// integer output is to be multiplied with, per column. Source: U32 KeyScales(pair), ValueScales(pair): the scale codes of
// the tokens of slots 2 * pair (bits 0-7) and 2 * pair + 1 (bits 8-15).
template <class W, int kDim, class Source, class Score>
POLARKV_WARP_FUNCTION WeightOperand<W> WeighTile(const Source& tile, const TileFacts<W>& facts,
                                                 const typename W::F32 (&query_scale)[2],
                                                 const Score (&scores)[4][4], OutputState<W, kDim>& state,
                                                 typename W::F32 (&factor)[2], const uint8_t* mean_logits) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  F32 x[8][2], value_scale[8];
  POLARKV_UNROLL
  for (int pair = 0; pair < 4; ++pair) {
    F32 key_scale[2], pair_scale[2];
    RelativeScales<W>(tile.KeyScales(pair), facts.key.step, key_scale);
    RelativeScales<W>(tile.ValueScales(pair), facts.value.step, pair_scale);
    value_scale[2 * pair] = pair_scale[0] * kWeightLevels;
    value_scale[2 * pair + 1] = pair_scale[1] * kWeightLevels;
    POLARKV_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int slot = 2 * pair + i / 2;
      x[slot][i % 2] = UnbiasedScore<W>(scores[slot % 4][slot / 4 * 2 + i % 2]) * key_scale[i / 2];
    }
  }
  F32 scale[2], shift[2];
  // Kept away from zero and infinity, so that a masked or zero score never makes a NaN; logits that the bounds touch are
  // below 1e-18 or above 1e25.
  POLARKV_UNROLL
  for (int c = 0; c < 2; ++c) scale[c] = W::Min(W::Max(query_scale[c] * facts.key.factor, F32(1e-30f)), F32(1e25f));
  if (facts.has_means) AddMeanLogits<W>(mean_logits, x, scale);
  if (facts.tokens < 64 || facts.left_out != 0) {
    const uint64_t masked = facts.Masked();
    POLARKV_UNROLL
    for (int slot = 0; slot < 8; ++slot) {
      const U32 token = SlotToken<W>(W::Lane(), slot);
      const U32 half = W::Select(token > U32(31u), U32(static_cast<uint32_t>(masked >> 32)),
                                 U32(static_cast<uint32_t>(masked)));
      const auto padding = (W::ShiftRight(half, token & 31u) & 1u) > U32(0u);
      x[slot][0] = W::Select(padding, F32(-INFINITY), x[slot][0]);
      x[slot][1] = W::Select(padding, F32(-INFINITY), x[slot][1]);
      value_scale[slot] = W::Select(padding, F32(0.0f), value_scale[slot]);
    }
  }
  POLARKV_UNROLL
  for (int c = 0; c < 2; ++c) {
    F32 top = x[0][c];
    POLARKV_UNROLL
    for (int slot = 1; slot < 8; ++slot) top = W::Max(top, x[slot][c]);
    POLARKV_UNROLL
    for (int mask = 4; mask < 32; mask *= 2) top = W::Max(top, W::ShuffleXor(top, mask));
    const F32 top_log2 = top * scale[c];
    shift[c] = F32(0.0f) - top_log2;
    factor[c] = top_log2;
  }
  RaiseReference<W, kDim>(factor, state);
  U32 packed[8];
  F32 sum[2] = {0.0f, 0.0f};
  POLARKV_UNROLL
  for (int slot = 0; slot < 8; ++slot) {
    F32 rounded[2];
    POLARKV_UNROLL
    for (int c = 0; c < 2; ++c) {
      const F32 p = W::Exp2(W::Min(W::Fma(x[slot][c], scale[c], shift[c]), F32(0.0f)));  // the product is not exact
      sum[c] = sum[c] + p;
      rounded[c] = W::Fma(p, value_scale[slot], F32(8388608.0f));  // its low 16 bits are the rounded product
    }
    packed[slot] = W::Transpose8x8(W::Permute(W::AsU32(rounded[0]), W::AsU32(rounded[1]), 0x5410u));
  }
  POLARKV_UNROLL
  for (int c = 0; c < 2; ++c) {
    const F32 weight = W::Exp2(factor[c] - state.reference[c]);
    state.sum[c] = W::Fma(sum[c], weight, state.sum[c]);
    factor[c] = weight * facts.value.factor * (1.0f / kWeightLevels);
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

// The whole tile.
template <class W, int kDim, int kKeyKind, int kValueKind, int kRowGroups, class Source, class Queries>
POLARKV_WARP_FUNCTION void AttendTile(const Source& tile, const TileFacts<W>& facts,
                                      const PermuteTables<kKeyKind>& key_tables,
                                      const PermuteTables<kValueKind>& value_tables,
                                      const Queries (&queries)[kRowGroups],
                                      OutputState<W, kDim> (&state)[kRowGroups]) {
  KeyScore<W, kKeyKind> scores[kRowGroups][4][4];
  ScoreTile<W, kDim>(tile, key_tables, queries, scores);
  WeightOperand<W> weights[kRowGroups];
  typename W::F32 factor[kRowGroups][2];
  POLARKV_UNROLL
  for (int n = 0; n < kRowGroups; ++n) {
    weights[n] = WeighTile<W, kDim>(tile, facts, queries[n].scale, scores[n], state[n], factor[n],
                                    facts.mean_logits + n * kMeanLogitBytes);
  }
  AddValues<W, kDim, kValueKind, kRowGroups>(tile, value_tables, weights, factor, state);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TILE_ATTENTION_H_
