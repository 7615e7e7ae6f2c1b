// Where attention in fp32 ends. A logit is the product of a score, a key's scale and the row's unit; any two of them may leave
// fp32 though all three together do not, and then a token would silently weigh nothing, or too much. So all three are
// bounded, far from where fp32 ends and farther from any model; beyond the bounds a body makes its result a NaN, and the call
// goes to the reference.
//
// Within them every product of two is finite, and what underflows is less than 2^-126 * 2^22 * 2^80 of a logit. Only a logit
// itself may still leave fp32: minus infinity is a weight of zero, which is right, and plus infinity becomes a NaN (RaiseMax).
//
// In a namespace of its own in every source, for the reason that turbo_attention.h gives.
#ifndef POLARKV_KERNELS_CPU_LOGIT_RANGE_H_
#define POLARKV_KERNELS_CPU_LOGIT_RANGE_H_

#include <cfloat>
#include <cstdint>

#include "codec/block_format.h"

namespace polarkv::cpu {
namespace {

constexpr float kLargestUnit = 0x1p80f;     // log2-domain logit per unit of score, and the scale of a call
constexpr float kSmallestScale = 0x1p-80f;  // of a call, or 0
// Of keys' scales. Scores of codes are below 2^22, in bodies that count in 1/256 below 2^30; norms of signs are below 2^16.
constexpr int kLargestKeyOctave = 80;
constexpr float kLargestAddedLogit = 0x1p100f;  // so that fp32's rounding hides what a sum with it overflows by
// Of keys decoded to floats, factor times unit: products with coordinates underflow by 2^-150 each.
constexpr float kLargestFactor = 0x1p100f;

// Whether a tile has scales above 2^kLargestKeyOctave.
[[gnu::noinline, gnu::cold, maybe_unused]] bool AnyKeyScaleBeyondRange(const uint8_t* codes, int base, int shift) {
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    if (codes[t] != 0 && (base + codes[t]) * (1 << shift) > kLargestKeyOctave * int{kScaleStepsPerOctave}) return true;
  }
  return false;
}
[[maybe_unused]] inline bool KeyScalesBeyondRange(const uint8_t* codes, int base, int shift) {
  shift &= 7;
  // Nearly always the largest code there is says enough.
  return (base + 255) * (1 << shift) > kLargestKeyOctave * int{kScaleStepsPerOctave} &&
         AnyKeyScaleBeyondRange(codes, base, shift);
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_LOGIT_RANGE_H_
