// The best ring of trellis codes for given numbers, 32 rings side by side: an exact tail-biting Viterbi search.
#ifndef POLARKV_CODEC_TRELLIS_SEARCH_H_
#define POLARKV_CODEC_TRELLIS_SEARCH_H_

#include <array>
#include <cstdint>

#include "codec/quantizer_lanes.h"
#include "codec/trellis_code.h"

namespace polarkv {

inline constexpr uint32_t kMaxTrellisRing = 32;

struct TrellisTargets {
  alignas(64) float x[kMaxTrellisRing][kQuantizerLanes];       // what code i of a ring should stand for; finite
  alignas(64) float weight[kMaxTrellisRing][kQuantizerLanes];  // 1, or 0 where any code will do
};

struct TrellisRings {
  // Symbol i of a ring of n codes: 1 bit: bit n-1-i of upper; 2 bits: bits 2(n-1-i) and up; 3 bits: its upper two bits
  // there, and the lowest in bit n-1-i of lower.
  alignas(64) uint32_t upper[kQuantizerLanes];
  alignas(64) uint32_t lower[kQuantizerLanes];
  alignas(64) float cost[kQuantizerLanes];  // sum of weight * (x - table[window])^2
};

// `bits` 1..3, `codes` at least 4 and at most 32 for 1 bit, 16 otherwise. Costs are accumulated in f32 with one fma a code; of equals
// the smaller window's top bits win, then the smaller starting context: every encoder gives these bits.
void SearchTrellis(uint32_t bits, uint32_t codes, const std::array<float, kTrellisWindows>& table,
                   const TrellisTargets& targets, TrellisRings& rings);

}  // namespace polarkv

#endif  // POLARKV_CODEC_TRELLIS_SEARCH_H_
