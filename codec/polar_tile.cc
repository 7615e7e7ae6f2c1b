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

template <typename Byte>
Byte* CodesOf(PolarBits bits, Byte* payload, uint32_t head_dim, uint32_t pair) {
  return payload + head_dim / 2 * sizeof(PolarParameters) + pair * 8 * (bits.radius + bits.angle);
}

// Sixty-four codes of `width` bits as one string of bits, the first in the lowest. Eight codes fill `width` bytes.
void PackCodes(uint32_t width, const std::array<uint8_t, kTileTokens>& codes, uint8_t* out) {
  for (uint32_t first = 0; first < kTileTokens; first += 8, out += width) {
    uint64_t word = 0;
    for (uint32_t i = 0; i < 8; ++i) word |= uint64_t{codes[first + i]} << (width * i);
    std::memcpy(out, &word, width);
  }
}

void UnpackCodes(uint32_t width, const uint8_t* in, uint8_t* codes) {
  for (uint32_t first = 0; first < kTileTokens; first += 8, in += width) {
    uint64_t word = 0;
    std::memcpy(&word, in, width);
    for (uint32_t i = 0; i < 8; ++i) codes[first + i] = static_cast<uint8_t>(word >> (width * i) & ((1u << width) - 1));
  }
}

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

// The smallest step whose `bins` bins, a power of two, reach from 0 to `range`.
uint16_t StepFor(float range, float bins) { return range > 0 ? FloatToHalfUp(range / bins) : uint16_t{0}; }

// The bin of an offset from the range's minimum, clamped. Where the step is 0 no offset is positive.
[[gnu::always_inline]] inline int Bin(float offset, float step, float bins) {
  const float bin = offset / (step > 0 ? step : 1.0f);
  const float above = bin > 0 ? bin : 0.0f;
  return static_cast<int>(above < bins - 1 ? above : bins - 1);
}

[[gnu::always_inline]] inline PolarParameters EncodePair(PolarBits bits, TileFloats& angles, const TileFloats& radii,
                                                         uint32_t tokens, uint8_t* codes) {
  const auto angle_bins = static_cast<float>(1u << bits.angle), radius_bins = static_cast<float>(1u << bits.radius);
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
  parameters.angle_step = StepFor(angle_range, angle_bins);
  parameters.radius_min = FloatToHalf(radius_min);
  const float decoded_min = HalfToFloat(parameters.radius_min);
  parameters.radius_step = StepFor(radius_max - decoded_min, radius_bins);

  const float angle_step = HalfToFloat(parameters.angle_step);
  const float radius_step = HalfToFloat(parameters.radius_step);
  for (uint32_t t = 0; t < tokens; ++t) {
    codes[t] = static_cast<uint8_t>(Bin(angles[t], angle_step, angle_bins) |
                                    Bin(radii[t] - decoded_min, radius_step, radius_bins) << bits.angle);
  }
  return parameters;
}

[[gnu::always_inline]] inline int EncodeBody(PolarBits bits, const float* rows, uint32_t tokens, uint32_t head_dim,
                                             const Rope& rope, uint8_t* payload) {
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
    std::array<uint8_t, kTileTokens> codes = {};
    const PolarParameters parameters = EncodePair(bits, angles, radii, tokens, codes.data());
    PackCodes(bits.radius + bits.angle, codes, CodesOf(bits, payload, head_dim, p));
    std::memcpy(payload + p * sizeof parameters, &parameters, sizeof parameters);
  }
  return exponent;
}

POLARKV_FMA_TARGET int EncodeFma(PolarBits bits, const float* rows, uint32_t tokens, uint32_t head_dim,
                                 const Rope& rope, uint8_t* payload) {
  return EncodeBody(bits, rows, tokens, head_dim, rope, payload);
}

}  // namespace

int EncodePolarTile(PolarBits bits, const float* rows, uint32_t tokens, uint32_t head_dim, const Rope& rope,
                    uint8_t* payload) {
  return (HasHardwareFma() ? EncodeFma : EncodeBody)(bits, rows, tokens, head_dim, rope, payload);
}

void ReadPolarPair(PolarBits bits, const uint8_t* payload, uint32_t head_dim, uint32_t pair, PolarPair& out) {
  PolarParameters parameters;
  std::memcpy(&parameters, payload + pair * sizeof parameters, sizeof parameters);
  out.bits = bits;
  const float angle_step = HalfToFloat(parameters.angle_step);
  const float radius_step = HalfToFloat(parameters.radius_step);
  const float radius_min = HalfToFloat(parameters.radius_min);
  for (uint32_t m = 0; m < 1u << bits.angle; ++m) {
    const Direction direction = DirectionOf(parameters.angle_min + (m + 0.5) * angle_step);
    out.cosine[m] = direction.cosine;
    out.sine[m] = direction.sine;
  }
  for (uint32_t m = 0; m < 1u << bits.radius; ++m) {
    out.radius[m] = static_cast<float>(radius_min + (m + 0.5) * radius_step);
  }
  UnpackCodes(bits.radius + bits.angle, CodesOf(bits, payload, head_dim, pair), out.codes);
}

}  // namespace polarkv
