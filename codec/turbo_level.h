// The level of a magnitude in a turbo codebook: an encoder's choice (FORMAT.md, "Turbo codes").
#ifndef POLARKV_CODEC_TURBO_LEVEL_H_
#define POLARKV_CODEC_TURBO_LEVEL_H_

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "codec/turbo_codebook.h"

namespace polarkv {

template <size_t kCount>
[[gnu::always_inline]] inline int CountReached(const std::array<float, kCount>& thresholds, float magnitude) {
  int level = 0;
  for (const float threshold : thresholds) level += int{magnitude >= threshold};
  return level;
}

// `magnitude`: of a coordinate of variance 1.
template <uint32_t kBits>
[[gnu::always_inline]] inline int TurboLevel(float magnitude) {
  if constexpr (kBits == 1) return 0;
  if constexpr (kBits == 2) return CountReached(kTurbo2Thresholds, magnitude);
  if constexpr (kBits == 3) return CountReached(kTurbo3Thresholds, magnitude);
  if constexpr (kBits == 5) return CountReached(kTurbo5Thresholds, magnitude);
  const float u = magnitude < kTurbo4LevelLimit ? magnitude : kTurbo4LevelLimit;
  const auto& c = kTurbo4LevelCubic;
  const int level = static_cast<int>(u * std::fma(u, std::fma(u, c[2], c[1]), c[0]));
  return level < 7 ? level : 7;
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_TURBO_LEVEL_H_
