// Sixty-four codes of scales -> the scales, in score order (kernels/cpu/turbo_table.h); codec/log_scale.h has the
// arithmetic that this follows up to rounding.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_TILE_SCALES_H_
#define POLARKV_KERNELS_CPU_PORTABLE_TILE_SCALES_H_

#include <bit>
#include <cmath>
#include <cstring>

#include "codec/block_format.h"
#include "kernels/cpu/logit_range.h"
#include "kernels/cpu/portable/target_vectors.h"
#include "kernels/cpu/turbo_attention.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

inline constexpr float kWeightMax = 255.0f;
inline constexpr int kLogScaleSteps = std::countr_zero(uint32_t{kScaleStepsPerOctave});

// Sixteen tokens, bits (e3 e2 e1 e0), in score order: (e3 e1 e2 e0); and back.
alignas(16) inline constexpr uint8_t kScoreShuffle[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};

constexpr bool ShuffleIsScoreOrder() {
  for (uint32_t token = 0; token < kTileTokens; ++token) {
    const uint32_t e = token % 16, quarter = token / 16;
    if (kScoreOrder.place[token] != 32 * (e / 8) + 8 * quarter + kScoreShuffle[e] % 8) return false;
  }
  return true;
}
static_assert(ShuffleIsScoreOrder());

// Bytes of 64 tokens into score order.
HWY_INLINE void ToScoreOrder(const uint8_t* tokens, uint8_t* scores) {
  const auto shuffle = hn::Load(kBlock, kScoreShuffle);
  for (uint32_t quarter = 0; quarter < 4; ++quarter) {
    const auto bytes = hn::TableLookupBytes(hn::LoadU(kBlock, tokens + 16 * quarter), shuffle);
    hn::StoreU(hn::LowerHalf(kHalfBlock, bytes), kHalfBlock, scores + 8 * quarter);
    hn::StoreU(hn::UpperHalf(kHalfBlock, bytes), kHalfBlock, scores + 32 + 8 * quarter);
  }
}

// What the tokens of one tile share, in score order.
struct TileScales {
  alignas(64) float key[kTileTokens];
  alignas(64) float value[kTileTokens];      // relative to the largest, times kWeightMax
  alignas(64) int32_t missing[kTileTokens];  // -1: no token; read only if there are fewer than 64
  float value_unit;  // what a weight of one stands for, of a token whose probability is the tile's largest
  uint32_t valid;    // tokens
};

HWY_INLINE WordVector Steps(WordVector codes, int base, int shift) {
  return hn::ShiftLeftSame(hn::Add(codes, hn::Set(kI32, base)), shift & 7);
}

HWY_INLINE WordVector CodesAt(const uint8_t* ordered, uint32_t i) {
  return hn::PromoteTo(kI32, hn::LoadU(kFewU8, ordered + i));
}

HWY_INLINE void ReadKeyScales(const uint8_t* codes, int base, int shift, float* out) {
  alignas(64) uint8_t ordered[kTileTokens];
  ToScoreOrder(codes, ordered);
  const FloatVector octave = hn::Set(kF32, 1.0f / kScaleStepsPerOctave);
  for (uint32_t i = 0; i < kTileTokens; i += kWordLanes) {
    const WordVector code = CodesAt(ordered, i);
    // A scale below fp32 is too small to move any logit (kernels/cpu/logit_range.h).
    const FloatVector scale = PreciseExp2(hn::Mul(hn::ConvertTo(kF32, Steps(code, base, shift)), octave));
    hn::Store(hn::IfThenZeroElse(hn::RebindMask(kF32, hn::Eq(code, hn::Zero(kI32))), scale), kF32, out + i);
  }
}

HWY_INLINE void ReadValueScales(const uint8_t* codes, int base, int shift, const float* octaves, TileScales& out) {
  alignas(64) uint8_t ordered[kTileTokens];
  ToScoreOrder(codes, ordered);
  WordVector largest_code = hn::Zero(kI32);
  for (uint32_t i = 0; i < kTileTokens; i += kWordLanes) largest_code = hn::Max(largest_code, CodesAt(ordered, i));
  const int code = hn::GetLane(hn::MaxOfLanes(kI32, largest_code));
  const int largest = code == 0 ? 0 : (base + code) * (1 << (shift & 7));
  out.value_unit = ldexpf(octaves[largest & (kScaleStepsPerOctave - 1)] / kWeightMax, largest >> kLogScaleSteps);
  const FloatVector octave = hn::Set(kF32, 1.0f / kScaleStepsPerOctave);
  for (uint32_t i = 0; i < kTileTokens; i += kWordLanes) {
    const WordVector one = CodesAt(ordered, i);
    const WordVector below = hn::Sub(Steps(one, base, shift), hn::Set(kI32, largest));
    const FloatVector scale = hn::Mul(PreciseExp2(hn::Mul(hn::ConvertTo(kF32, below), octave)), hn::Set(kF32, kWeightMax));
    hn::Store(hn::IfThenZeroElse(hn::RebindMask(kF32, hn::Eq(one, hn::Zero(kI32))), scale), kF32, out.value + i);
  }
}

inline void ReadTileScales(const TurboTiles& tiles, uint32_t tile, TileScales& out) {
  const uint8_t* base = tiles.base + uint64_t{tile} * tiles.base_stride;
  TileHead head;
  std::memcpy(&head, base, sizeof head);
  ReadKeyScales(base + tiles.key_scales, head.k_exponent, head.k_shift, out.key);
  ReadValueScales(base + tiles.value_scales, head.v_exponent, head.v_shift, tiles.octave, out);
  if (KeyScalesBeyondRange(base + tiles.key_scales, head.k_exponent, head.k_shift)) out.value_unit = __builtin_nanf("");
  const uint32_t left = tiles.tokens - tile * kTileTokens;
  out.valid = left < kTileTokens ? left : kTileTokens;
  if (out.valid == kTileTokens) return;
  for (uint32_t i = 0; i < kTileTokens; ++i) out.missing[i] = kScoreOrder.token[i] < out.valid ? 0 : -1;
}

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_TILE_SCALES_H_
