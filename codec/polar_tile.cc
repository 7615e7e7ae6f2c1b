#include "codec/polar_tile.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "codec/block_format.h"
#include "codec/fma_target.h"
#include "codec/half_float.h"
#include "codec/largest_magnitude.h"
#include "codec/polar_coordinates.h"

namespace polarkv {
namespace {

using TileFloats = std::array<float, kTileTokens>;

// The tile's largest coordinate lands in [2^13, 2^14), so that no radius exceeds the largest half.
constexpr int kTopBinade = 13;

int TileExponent(const float* rows, uint32_t count) {
  const float largest = LargestMagnitude(rows, count);
  return largest > 0 ? std::ilogb(largest) - kTopBinade : 0;
}

// Where the occupied arc begins: after the widest gap between neighbouring angles; the first such gap, counted from
// angle 0, if several are equally wide, the one across 0 being the first of all. Zero vectors have no direction and do
// not count. No sorting: 64 angles leave a gap of at least 1/64 turn, so it lies between two of 64 buckets.
float ArcStart(const TileFloats& angles, const TileFloats& radii, uint32_t tokens) {
  constexpr uint32_t kBuckets = kTileTokens;
  constexpr float kPerBucket = kTurn / kBuckets;
  float lowest[kBuckets], highest[kBuckets];
  std::fill_n(lowest, kBuckets, kTurn);
  std::fill_n(highest, kBuckets, -1.0f);
  for (uint32_t t = 0; t < tokens; ++t) {
    if (!(radii[t] > 0)) continue;
    const uint32_t bucket = static_cast<uint32_t>(angles[t] / kPerBucket);
    lowest[bucket] = std::min(lowest[bucket], angles[t]);
    highest[bucket] = std::max(highest[bucket], angles[t]);
  }
  const float last = *std::max_element(highest, highest + kBuckets);
  if (last < 0) return 0;
  float start = 0;
  float widest = -1;
  float previous = last - kTurn;
  for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    if (highest[bucket] < 0) continue;
    const float gap = lowest[bucket] - previous;
    if (gap > widest) {
      widest = gap;
      start = lowest[bucket];
    }
    previous = highest[bucket];
  }
  return start;
}

// The smallest step whose 16 bins reach from 0 to `range`.
uint16_t StepFor(float range) { return range > 0 ? FloatToHalfUp(range / kPolarLevels) : uint16_t{0}; }

// The bin of an offset from the range's minimum, clamped. Where the step is 0 no offset is positive.
[[gnu::always_inline]] inline int Bin(float offset, float step) {
  const float bin = offset / (step > 0 ? step : 1.0f);
  const float above = bin > 0 ? bin : 0.0f;
  return static_cast<int>(above < kPolarLevels - 1 ? above : kPolarLevels - 1.0f);
}

[[gnu::always_inline]] inline PolarParameters EncodePair(TileFloats& angles, const TileFloats& radii, uint32_t tokens,
                                                         uint8_t* codes) {
  PolarParameters parameters;
  const float start = ArcStart(angles, radii, tokens);
  parameters.angle_min = static_cast<uint16_t>(start);  // rounds down
  float angle_range = 0;
  float radius_min = radii[0];
  float radius_max = 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    const float offset = (angles[t] < start ? angles[t] + kTurn : angles[t]) - parameters.angle_min;
    angles[t] = radii[t] > 0 ? offset : 0.0f;
    angle_range = angles[t] > angle_range ? angles[t] : angle_range;
    radius_min = radii[t] < radius_min ? radii[t] : radius_min;
    radius_max = radii[t] > radius_max ? radii[t] : radius_max;
  }
  parameters.angle_step = StepFor(angle_range);
  parameters.radius_min = FloatToHalf(radius_min);
  const float decoded_min = HalfToFloat(parameters.radius_min);
  parameters.radius_step = StepFor(radius_max - decoded_min);

  const float angle_step = HalfToFloat(parameters.angle_step);
  const float radius_step = HalfToFloat(parameters.radius_step);
  for (uint32_t t = 0; t < tokens; ++t) {
    codes[t] = static_cast<uint8_t>(Bin(angles[t], angle_step) | Bin(radii[t] - decoded_min, radius_step) << 4);
  }
  return parameters;
}

[[gnu::always_inline]] inline int EncodeBody(const float* rows, uint32_t tokens, uint32_t head_dim, const Rope& rope,
                                             uint8_t* payload) {
  const int exponent = TileExponent(rows, tokens * head_dim);
  const double factor = std::ldexp(1.0, -exponent);  // the product is exact in double, so that one rounding is left
  const uint32_t pairs = head_dim / 2;
  for (uint32_t p = 0; p < pairs; ++p) {
    const CoordinatePair pair = PairOf(rope, head_dim, p);
    TileFloats x{}, y{}, angles, radii;
    for (uint32_t t = 0; t < tokens; ++t) {
      x[t] = static_cast<float>(rows[t * head_dim + pair.first] * factor);
      y[t] = static_cast<float>(rows[t * head_dim + pair.second] * factor);
    }
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      angles[t] = PolarAngle(x[t], y[t]);
      radii[t] = PolarRadius(x[t], y[t]);
    }
    uint8_t* codes = payload + pairs * sizeof(PolarParameters) + p * kTileTokens;
    const PolarParameters parameters = EncodePair(angles, radii, tokens, codes);
    std::memcpy(payload + p * sizeof parameters, &parameters, sizeof parameters);
  }
  return exponent;
}

POLARKV_FMA_TARGET int EncodeFma(const float* rows, uint32_t tokens, uint32_t head_dim, const Rope& rope,
                                 uint8_t* payload) {
  return EncodeBody(rows, tokens, head_dim, rope, payload);
}

}  // namespace

int EncodePolarTile(const float* rows, uint32_t tokens, uint32_t head_dim, const Rope& rope, uint8_t* payload) {
  return (HasHardwareFma() ? EncodeFma : EncodeBody)(rows, tokens, head_dim, rope, payload);
}

PolarPair ReadPolarPair(const uint8_t* payload, uint32_t head_dim, uint32_t pair) {
  PolarParameters parameters;
  std::memcpy(&parameters, payload + pair * sizeof parameters, sizeof parameters);
  PolarPair out;
  const float angle_step = HalfToFloat(parameters.angle_step);
  const float radius_step = HalfToFloat(parameters.radius_step);
  const float radius_min = HalfToFloat(parameters.radius_min);
  for (uint32_t m = 0; m < kPolarLevels; ++m) {
    const double middle = m + 0.5;
    const Direction direction = DirectionOf(parameters.angle_min + middle * angle_step);
    out.cosine[m] = direction.cosine;
    out.sine[m] = direction.sine;
    out.radius[m] = static_cast<float>(radius_min + middle * radius_step);
  }
  out.codes = payload + head_dim / 2 * sizeof parameters + pair * kTileTokens;
  return out;
}

}  // namespace polarkv
