// Integer scores of one tile -> 8-bit weights for its values, and the row's running softmax.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_TILE_SOFTMAX_H_
#define POLARKV_KERNELS_CPU_PORTABLE_TILE_SOFTMAX_H_

#include "kernels/cpu/portable/byte_dot.h"
#include "kernels/cpu/portable/tile_scales.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

// What the values of a tile are to be multiplied with, for one row.
struct RowWeights {
  alignas(64) int32_t words[kTileTokens / 4];  // [quarter][dword of kDwordFirstCode]: weights of four tokens
  int32_t sum;                                 // of the weights; kept only where ValueDot wants it
  float factor;                                // what a weight of one stands for
};

// Byte 4 dword + b of a quarter's weights: where among its 16 scores it is.
struct WeightOrder {
  alignas(16) uint8_t score[16];
};
inline constexpr WeightOrder kWeightOrder = [] {
  WeightOrder order{};
  for (uint32_t i = 0; i < 16; ++i) {
    order.score[i] = kScoreShuffle[kDwordFirstCode[i / 8][i / 4 % 2] - 4 * (i % 4)];
  }
  return order;
}();

// Sixty-four bytes in score order -> words of weights.
HWY_INLINE void ToWeightWords(const uint8_t* scores, int32_t* words) {
  const auto shuffle = hn::Load(kBlock, kWeightOrder.score);
  for (uint32_t quarter = 0; quarter < 4; ++quarter) {
    const auto low = hn::LoadU(kHalfBlock, scores + 8 * quarter), high = hn::LoadU(kHalfBlock, scores + 32 + 8 * quarter);
    const auto bytes = hn::TableLookupBytes(hn::Combine(kBlock, high, low), shuffle);
    hn::StoreU(bytes, kBlock, reinterpret_cast<uint8_t*>(words + 4 * quarter));
  }
}

// Raises a row's reference for its logits; everything summed so far shrinks. From a logit that fp32 cannot hold on, the sum
// is a NaN and stays one.
inline void RaiseMax(float top, uint32_t head_dim, TurboRowState& state) {
  if (state.sum == 0) {
    state.max = top;
  } else if (top > state.max) {
    const float shrink = exp2f(state.max - top);
    state.max = top;
    state.sum *= shrink;
    const FloatVector factor = hn::Set(kF32, shrink);
    for (uint32_t i = 0; i < 2 * head_dim; i += kWordLanes) {
      hn::StoreU(hn::Mul(hn::LoadU(kF32, state.output + i), factor), kF32, state.output + i);
    }
  }
  if (!(top <= FLT_MAX)) state.sum = __builtin_nanf("");
}

// A weight is a token's probability, relative to the tile's largest, times its value's scale, relative to the tile's largest.
// `extras`: this tile's and row's, if kExtras.
template <bool kExtras>
HWY_INLINE void Softmax(const int32_t* scores, const TileScales& scales, uint32_t head_dim, const TurboQuery& query,
                        TurboRowState& state, const TurboExtras& extras, RowWeights& out) {
  const bool partial = scales.valid < kTileTokens;
  const auto missing = [&](uint32_t i) { return hn::RebindMask(kF32, hn::MaskFromVec(hn::Load(kI32, scales.missing + i))); };
  const FloatVector unit = hn::Set(kF32, query.scale * KeyDot::kUnit);
  alignas(64) float logits[kTileTokens];
  FloatVector best = hn::Set(kF32, -HUGE_VALF);
  for (uint32_t i = 0; i < kTileTokens; i += kWordLanes) {
    FloatVector x = hn::Mul(hn::ConvertTo(kF32, hn::Load(kI32, scores + i)), hn::Load(kF32, scales.key + i));
    if constexpr (kExtras) x = hn::MulAdd(x, unit, hn::LoadU(kF32, extras.added + i));
    if (partial) x = hn::IfThenElse(missing(i), hn::Set(kF32, -HUGE_VALF), x);
    best = hn::Max(best, x);
    hn::Store(x, kF32, logits + i);
  }
  float top = hn::GetLane(hn::MaxOfLanes(kF32, best));
  if constexpr (!kExtras) top *= query.scale * KeyDot::kUnit;
  if (state.sum == 0 || top > state.max) RaiseMax(top, head_dim, state);
  const float share = hn::GetLane(Exp2(hn::Set(kF32, top - state.max)));

  const FloatVector minus_top = hn::Set(kF32, -top);
  FloatVector sum = hn::Zero(kF32);
  alignas(64) uint8_t weights[kTileTokens];
  for (uint32_t i = 0; i < kTileTokens; i += kWordLanes) {
    const FloatVector x = hn::Load(kF32, logits + i);
    FloatVector p = Exp2(kExtras ? hn::Add(x, minus_top) : hn::MulAdd(x, unit, minus_top));
    if (partial) p = hn::IfThenZeroElse(missing(i), p);
    if (kExtras && extras.probability != nullptr) {
      hn::StoreU(hn::Mul(p, hn::Set(kF32, share)), kF32, extras.probability + i);
    }
    sum = hn::Add(sum, p);
    const WordVector whole = hn::NearestInt(hn::Mul(p, hn::Load(kF32, scales.value + i)));
    hn::StoreU(hn::DemoteTo(kFewU8, whole), kFewU8, weights + i);
  }
  ToWeightWords(weights, out.words);
  if constexpr (ValueDot::kImageOffset != 0) {
    out.sum = 0;
    for (const uint8_t weight : weights) out.sum += weight;
  }
  state.sum += share * hn::GetLane(hn::SumOfLanes(kF32, sum));
  out.factor = share * scales.value_unit * ValueDot::kUnit;
}

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_TILE_SOFTMAX_H_
