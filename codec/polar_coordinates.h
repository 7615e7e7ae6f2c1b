// Angle and radius of a pair of coordinates, with the same bits on every machine, and the pairs that RoPE rotates.
#ifndef POLARKV_CODEC_POLAR_COORDINATES_H_
#define POLARKV_CODEC_POLAR_COORDINATES_H_

#include <cmath>
#include <cstdint>

#include "codec/block_spec.h"

namespace polarkv {

// Angles are floats in units of 1/65536 turn: reducing modulo a turn is exact.
inline constexpr float kTurn = 65536.0f;

// The direction of (x, y), in [0, kTurn); 0 for (0, 0). Error below 2.5e-8 turn. arctan(t) by Abramowitz and Stegun,
// Handbook of Mathematical Functions, 4.4.49, times 65536 / 2 pi; the order of operations is part of the format.
[[gnu::always_inline]] inline float PolarAngle(float x, float y) {
  const float ax = std::fabs(x);
  const float ay = std::fabs(y);
  const float high = ax > ay ? ax : ay;
  const float low = ax > ay ? ay : ax;
  const float t = low / (high > 0 ? high : 1.0f);
  const float s = t * t;
  float p = std::fma(.0028662257f, s, -.0161657367f);
  p = std::fma(p, s, .0429096138f);
  p = std::fma(p, s, -.0752896400f);
  p = std::fma(p, s, .1065626393f);
  p = std::fma(p, s, -.1420889944f);
  p = std::fma(p, s, .1999355085f);
  p = std::fma(p, s, -.3333314528f);
  p = std::fma(p, s, 1.0f);
  const float octant = p * t * 10430.3784f;
  const float quadrant = ay > ax ? kTurn / 4 - octant : octant;
  const float half = x < 0 ? kTurn / 2 - quadrant : quadrant;
  const float angle = y < 0 ? kTurn - half : half;
  return angle < kTurn ? angle : 0.0f;  // a y just below 0 rounds to the full turn
}

[[gnu::always_inline]] inline float PolarRadius(float x, float y) { return std::sqrt(std::fma(x, x, y * y)); }

struct CoordinatePair {
  uint32_t first;
  uint32_t second;
};

// Pair number `pair` of head_dim / 2. The leading rope.dims coordinates pair as RoPE rotates them; those after them,
// and all without RoPE, pair half and half. Values pair as keys do.
inline CoordinatePair PairOf(const Rope& rope, uint32_t head_dim, uint32_t pair) {
  const uint32_t rotated = rope.pairing == RopePairing::kNone ? 0 : rope.dims;
  if (pair < rotated / 2) {
    if (rope.pairing == RopePairing::kInterleaved) return {2 * pair, 2 * pair + 1};
    return {pair, pair + rotated / 2};
  }
  return {pair + rotated / 2, pair + head_dim / 2};
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_POLAR_COORDINATES_H_
