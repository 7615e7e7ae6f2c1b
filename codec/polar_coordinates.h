// Angle and radius of a pair of coordinates, with the same bits on every machine, and the pairs that RoPE rotates.
#ifndef POLARKV_CODEC_POLAR_COORDINATES_H_
#define POLARKV_CODEC_POLAR_COORDINATES_H_

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>

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

struct Direction {
  float cosine;
  float sine;
};

// `angle` in 1/65536 turn, at least 0; exact up to 2^30. Reduced to an eighth of a turn without rounding, then Taylor
// polynomials in double, whose error is far below a float's: no platform's library takes part. The order of operations
// is part of the format. Defined, if without meaning, for infinity and NaN.
inline Direction DirectionOf(double angle) {
  constexpr double kQuarter = 16384;
  const double quarters = std::floor(angle / kQuarter + 0.5);
  const double x = (angle - quarters * kQuarter) * (2 * std::numbers::pi / 65536);
  const double s = x * x;
  double sine = 0, cosine = 0;  // the polynomials' terms but for their first
  for (const double divisor : {14.0 * 15, 12.0 * 13, 10.0 * 11, 8.0 * 9, 6.0 * 7, 4.0 * 5, 2.0 * 3}) {
    sine = -s / divisor * (1 + sine);
  }
  for (const double divisor : {15.0 * 16, 13.0 * 14, 11.0 * 12, 9.0 * 10, 7.0 * 8, 5.0 * 6, 3.0 * 4, 1.0 * 2}) {
    cosine = -s / divisor * (1 + cosine);
  }
  const auto c = static_cast<float>(1 + cosine);
  const auto y = static_cast<float>(x + x * sine);
  const double quadrant = quarters - 4 * std::floor(quarters / 4);
  if (quadrant == 0) return {c, y};
  if (quadrant == 1) return {-y, c};
  if (quadrant == 2) return {-c, -y};
  return {y, -c};
}

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
