// The end of a tile's side: scales as bytes (codec/log_scale.h), the tile head's fields, the report.
#ifndef POLARKV_KERNELS_CUDA_FINISH_TILE_H_
#define POLARKV_KERNELS_CUDA_FINISH_TILE_H_

#include "codec/block_format.h"
#include "kernels/cuda/encode_args.h"
#include "kernels/cuda/row_stage.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

inline constexpr uint32_t kQuarters = kTileTokens / kQuarterTokens;
inline constexpr int32_t kNoScale = INT32_MIN;
inline constexpr int32_t kDoubtful = 1, kNotFinite = 2;

// What the lanes of a tile's warps tell each other, by token; shared memory.
struct TileScratch {
  int32_t step[kTileTokens];   // ScaleStep of the token's scale, or kNoScale
  int32_t state[kTileTokens];  // 0, kDoubtful or kNotFinite
  const uint8_t* rows[kTileTokens];  // where they are; null beyond the tile's tokens
  uint32_t without_mean[kQuarters];  // bit i: token i of the quarter lost its head's mean; of keys with means
  alignas(16) float groups[kTrellisWindows];  // EncodeArgs::grouped_levels; of trellis3
};

// ScaleStep of codec/log_scale.h for a normal mantissa; `thresholds` are kOctaveThresholds.
template <class W>
POLARKV_WARP_FUNCTION typename W::I32 ScaleStepOf(const float* thresholds, typename W::F32 mantissa,
                                                  typename W::I32 exponent) {
  using U32 = typename W::U32;
  const U32 bits = W::AsU32(mantissa);
  const auto m = W::FloatOfBits((bits & 0x7FFFFFu) | 0x3F800000u);
  U32 reached = 0u;
  POLARKV_UNROLL
  for (uint32_t half = kScaleSteps / 2; half > 0; half /= 2) {
    const auto above = m >= W::LoadFloat(thresholds, reached + (half - 1));
    reached = W::Select(above, reached + half, reached);
  }
  reached = W::Select(m >= W::LoadFloat(thresholds, reached), reached + 1u, reached);
  return (W::AsI32(bits >> 23) - 127 + exponent) * kScaleSteps + W::AsI32(reached);
}

POLARKV_WARP_FUNCTION int32_t CoarsenStep(int32_t step, int32_t shift) { return (step + (1 << shift >> 1)) >> shift; }

// The scales of both tokens of a lane, `lane` and `lane + 32`. Returns base and shift.
template <class W>
POLARKV_WARP_FUNCTION ScaleRange StoreTileScales(const typename W::I32 (&step)[2], uint8_t* scales) {
  using I32 = typename W::I32;
  const auto low_of = [](I32 s) {
    const auto has = s > I32(kNoScale);
    return W::Select(has, -W::Select(has, s, I32(0)), I32(kNoScale));
  };
  const int32_t high = W::MaxOverWarp(W::Max(step[0], step[1]));
  const int32_t low = -W::MaxOverWarp(W::Max(low_of(step[0]), low_of(step[1])));
  ScaleRange range;
  if (high != kNoScale) {
    int32_t shift = 0;
    while (shift < kMaxTileShift && CoarsenStep(high, shift) - CoarsenStep(low, shift) > kScaleCodeSpan) ++shift;
    range.shift = static_cast<uint8_t>(shift);
    range.base = static_cast<int16_t>(CoarsenStep(high, shift) - kScaleCodeSpan - 1);
  }
  POLARKV_UNROLL
  for (uint32_t i = 0; i < 2; ++i) {
    const auto has = step[i] > I32(kNoScale);
    const I32 rounded = W::Select(has, step[i], I32(0)) + (1 << range.shift >> 1);
    const I32 code = W::Max((rounded >> int{range.shift}) - int{range.base}, I32(0));
    W::StoreByte(scales, W::Lane() + 32 * i, W::BitsOf(W::Select(has, code, I32(0))));
  }
  return range;
}

POLARKV_WARP_FUNCTION uint64_t LowestTokens(uint32_t count) {
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// One tile of one block.
struct TileTask {
  uint8_t* base;  // the tile in the base plane
  TileReport* report;
  uint32_t tokens;        // 1 to 64
  uint32_t raw;           // of them the first ones are not coded
  uint32_t first_escape;  // escape records of the layer before this tile's, the raw tokens' alone
};

// What became of a tile's keys with means.
struct TileMeans {
  uint64_t tokens = 0;     // that lost the head's mean
  uint32_t has_means = 0;  // TileReport::has_means
};

// Each side writes its fields of the head; keys those that both share, too.
template <class W>
POLARKV_WARP_FUNCTION void StoreTileHead(const EncodeArgs& args, const TileTask& task, ScaleRange range,
                                         const TileMeans& means) {
  auto* const head = reinterpret_cast<TileHead*>(task.base);
  const uint64_t escapes = LowestTokens(task.raw);
  if (args.side == 1) {
    W::StoreOnce(&head->v_exponent, range.base);
    W::StoreOnce(&head->v_shift, range.shift);
    W::StoreOnce(&head->v_escapes, escapes);
    return;
  }
  W::StoreOnce(&head->k_exponent, range.base);
  W::StoreOnce(&head->tokens, static_cast<uint16_t>(task.tokens));
  W::StoreOnce(&head->k_shift, range.shift);
  W::StoreOnce(&head->k_escapes, escapes);
  W::StoreOnce(&head->k_mean, means.tokens);
  W::StoreOnce(&head->first_escape, task.first_escape);
  auto* const reserved = reinterpret_cast<uint32_t*>(head->reserved);
  for (uint32_t i = 0; i < sizeof head->reserved / 4; ++i) W::StoreOnce(reserved + i, 0u);
}

template <class W>
POLARKV_WARP_FUNCTION void FinishTile(const EncodeArgs& args, const TileTask& task, const TileScratch& scratch,
                                      const TileMeans& means) {
  using I32 = typename W::I32;
  const I32 step[2] = {W::LoadInt(scratch.step, W::Lane()), W::LoadInt(scratch.step, W::Lane() + 32)};
  const ScaleRange range = StoreTileScales<W>(step, task.base + args.scales);
  StoreTileHead<W>(args, task, range, means);
  uint64_t masks[2] = {};
  POLARKV_UNROLL
  for (uint32_t i = 0; i < 2; ++i) {
    const I32 state = W::LoadInt(scratch.state, W::Lane() + 32 * i);
    const uint64_t other = W::Ballot(state > I32(0));
    const uint64_t not_finite = W::Ballot(state > I32(kDoubtful));
    masks[0] |= not_finite << (32 * i);
    masks[1] |= (other & ~not_finite) << (32 * i);
  }
  W::StoreOnce(&task.report->not_finite[args.side], masks[0]);
  W::StoreOnce(&task.report->doubtful[args.side], masks[1]);
  W::StoreOnce(&task.report->coarse[args.side], uint32_t{range.shift});
  if (args.side == 0) {
    W::StoreOnce(&task.report->has_means, means.has_means);
    W::StoreOnce(&task.report->reserved, 0u);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_FINISH_TILE_H_
