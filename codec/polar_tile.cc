#include "codec/polar_tile.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>

#include "codec/block_format.h"
#include "codec/half_float.h"
#include "codec/polar_coordinates.h"

namespace polarkv {
namespace {

using TileFloats = std::array<float, kTileTokens>;

// The tile's largest coordinate lands in [2^13, 2^14), so that no radius exceeds the largest half.
constexpr int kTopBinade = 13;

int TileExponent(const float* rows, uint32_t count) {
  float largest = 0;
  for (uint32_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(rows[i]));
  return largest > 0 ? std::ilogb(largest) - kTopBinade : 0;
}

// Where the occupied arc begins: after the widest gap between neighbouring angles; the first such gap, counted from
// angle 0, if several are equally wide. Zero vectors have no direction and do not count.
float ArcStart(const TileFloats& angles, const TileFloats& radii, uint32_t tokens) {
  TileFloats sorted;
  uint32_t count = 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    if (radii[t] > 0) sorted[count++] = angles[t];
  }
  if (count == 0) return 0;
  std::sort(sorted.begin(), sorted.begin() + count);
  float start = sorted[0];
  float widest = sorted[0] + kTurn - sorted[count - 1];
  for (uint32_t i = 1; i < count; ++i) {
    const float gap = sorted[i] - sorted[i - 1];
    if (gap > widest) {
      widest = gap;
      start = sorted[i];
    }
  }
  return start;
}

uint8_t Code(float offset, float step) {
  if (!(step > 0) || !(offset > 0)) return 0;
  const float bin = offset / step;
  return bin < kPolarLevels ? static_cast<uint8_t>(bin) : kPolarLevels - 1;
}

// The smallest step whose 16 bins reach from 0 to `range`.
uint16_t StepFor(float range) { return range > 0 ? FloatToHalfUp(range / kPolarLevels) : uint16_t{0}; }

PolarParameters EncodePair(TileFloats& angles, const TileFloats& radii, uint32_t tokens, uint8_t* codes) {
  PolarParameters parameters;
  const float start = ArcStart(angles, radii, tokens);
  parameters.angle_min = static_cast<uint16_t>(start);  // rounds down
  float angle_range = 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    angles[t] = radii[t] > 0 ? (angles[t] < start ? angles[t] + kTurn : angles[t]) - parameters.angle_min : 0;
    angle_range = std::max(angle_range, angles[t]);
  }
  parameters.angle_step = StepFor(angle_range);

  const auto [radius_min, radius_max] = std::minmax_element(radii.begin(), radii.begin() + tokens);
  parameters.radius_min = FloatToHalf(*radius_min);
  const float decoded_min = HalfToFloat(parameters.radius_min);
  parameters.radius_step = StepFor(*radius_max - decoded_min);

  const float angle_step = HalfToFloat(parameters.angle_step);
  const float radius_step = HalfToFloat(parameters.radius_step);
  for (uint32_t t = 0; t < tokens; ++t) {
    codes[t] = static_cast<uint8_t>(Code(angles[t], angle_step) | Code(radii[t] - decoded_min, radius_step) << 4);
  }
  return parameters;
}

}  // namespace

int EncodePolarTile(const float* rows, uint32_t tokens, uint32_t head_dim, const Rope& rope, uint8_t* payload) {
  const int exponent = TileExponent(rows, tokens * head_dim);
  const double factor = std::ldexp(1.0, -exponent);  // the product is exact in double, so that one rounding is left
  const uint32_t pairs = head_dim / 2;
  for (uint32_t p = 0; p < pairs; ++p) {
    const CoordinatePair pair = PairOf(rope, head_dim, p);
    TileFloats angles{}, radii{};
    for (uint32_t t = 0; t < tokens; ++t) {
      const float x = static_cast<float>(rows[t * head_dim + pair.first] * factor);
      const float y = static_cast<float>(rows[t * head_dim + pair.second] * factor);
      angles[t] = PolarAngle(x, y);
      radii[t] = PolarRadius(x, y);
    }
    uint8_t* codes = payload + pairs * sizeof(PolarParameters) + p * kTileTokens;
    const PolarParameters parameters = EncodePair(angles, radii, tokens, codes);
    std::memcpy(payload + p * sizeof parameters, &parameters, sizeof parameters);
  }
  return exponent;
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
    const double radians = (parameters.angle_min + middle * angle_step) * (2 * std::numbers::pi / kTurn);
    out.cosine[m] = static_cast<float>(std::cos(radians));
    out.sine[m] = static_cast<float>(std::sin(radians));
    out.radius[m] = static_cast<float>(radius_min + middle * radius_step);
  }
  out.codes = payload + head_dim / 2 * sizeof parameters + pair * kTileTokens;
  return out;
}

}  // namespace polarkv
