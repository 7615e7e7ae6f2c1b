#include "codec/log_scale.h"

#include <algorithm>

namespace polarkv {
namespace {

// A step in units of 2^shift steps, rounded to nearest, halves upwards.
int Coarsen(int step, int shift) { return (step + (1 << shift >> 1)) >> shift; }

}  // namespace

ScaleRange StoreScales(const float* mantissa, const int* exponent, uint32_t tokens, uint8_t* codes) {
  int step[kTileTokens];
  int low = 0, high = 0;
  bool any = false;
  for (uint32_t t = 0; t < tokens; ++t) {
    if (!(mantissa[t] > 0)) continue;
    step[t] = ScaleStep(mantissa[t], exponent[t]);
    low = any ? std::min(low, step[t]) : step[t];
    high = any ? std::max(high, step[t]) : step[t];
    any = true;
  }
  std::fill_n(codes, tokens, uint8_t{0});
  if (!any) return {};
  int shift = 0;
  while (shift < kMaxTileShift && Coarsen(high, shift) - Coarsen(low, shift) > kScaleCodeSpan) ++shift;
  const int base = Coarsen(high, shift) - kScaleCodeSpan - 1;
  for (uint32_t t = 0; t < tokens; ++t) {
    if (mantissa[t] > 0) codes[t] = static_cast<uint8_t>(std::max(Coarsen(step[t], shift) - base, 0));
  }
  return {static_cast<int16_t>(base), static_cast<uint8_t>(shift)};
}

}  // namespace polarkv
