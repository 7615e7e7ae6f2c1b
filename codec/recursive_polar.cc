#include "codec/recursive_polar.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "codec/half_float.h"
#include "codec/polar_coordinates.h"

namespace polarkv {
namespace {

constexpr uint32_t kFirstLevelBits = 4, kUpperLevelBits = 2;

// Levels 2 to 4: Lloyd-Max for the density of an angle between the radii of 2, 4 and 8 coordinates on each side,
// proportional to sin(2 psi)^(2^(l-1) - 1). A code is the number of thresholds (in 1/65536 turn) reached.
struct UpperLevel {
  std::array<float, 3> thresholds;
  std::array<float, 4> cosine;  // sine[c] = cosine[3 - c]
};
constexpr std::array<UpperLevel, 3> kUpperLevels = {{
    {{4921.763f, 8192.0f, 11462.237f}, {.952407f, .805677f, .592354f, .304828f}},
    {{5740.0f, 8192.0f, 10644.0f}, {.910523f, .781092f, .624416f, .413458f}},
    {{6415.315f, 8192.0f, 9968.685f}, {.865718f, .761023f, .648725f, .500532f}},
}};
// Level 1: the middles of sixteenths of a turn.
constexpr std::array<float, 16> kFirstLevelCosine = {
    .980785280f,  .831469612f,  .555570233f,  .195090322f,  -.195090322f, -.555570233f, -.831469612f, -.980785280f,
    -.980785280f, -.831469612f, -.555570233f, -.195090322f, .195090322f,  .555570233f,  .831469612f,  .980785280f};
constexpr float FirstLevelSine(uint32_t code) { return kFirstLevelCosine[(code + 12) % 16]; }

uint32_t UpperCode(const UpperLevel& level, float angle) {
  uint32_t code = 0;
  for (const float threshold : level.thresholds) code += angle >= threshold ? 1 : 0;
  return code;
}

// Angles of group `group` of a tile, a string of 46 bits; `bytes` in all.
uint64_t LoadAngles(const uint8_t* angles, uint32_t bytes, uint32_t group) {
  const uint32_t bit = group * kPolarGroupAngleBits, first = bit / 8;
  uint64_t word = 0;
  std::memcpy(&word, angles + first, std::min(8u, bytes - first));
  return word >> bit % 8 & ((uint64_t{1} << kPolarGroupAngleBits) - 1);
}

// Into bits that are zero.
void StoreAngles(uint8_t* angles, uint32_t bytes, uint32_t group, uint64_t code) {
  const uint32_t bit = group * kPolarGroupAngleBits, first = bit / 8, count = std::min(8u, bytes - first);
  uint64_t word = 0;
  std::memcpy(&word, angles + first, count);
  word |= code << bit % 8;
  std::memcpy(angles + first, &word, count);
}

uint32_t AngleBytes(uint32_t head_dim) { return kTileTokens * head_dim / kPolarGroup * kPolarGroupAngleBits / 8; }

}  // namespace

PolarGroupCode EncodePolarGroup(const PolarGroup& x) {
  PolarGroupCode code;
  uint32_t shift = 0;
  const auto put = [&](uint32_t bits, uint32_t value) {
    code.angles |= uint64_t{value} << shift;
    shift += bits;
  };
  PolarGroup radii;
  for (uint32_t i = 0; i < kPolarGroup / 2; ++i) {
    put(kFirstLevelBits, static_cast<uint32_t>(PolarAngle(x[2 * i], x[2 * i + 1]) * (16 / kTurn)));
    radii[i] = PolarRadius(x[2 * i], x[2 * i + 1]);
  }
  uint32_t count = kPolarGroup / 4;
  for (const UpperLevel& level : kUpperLevels) {
    for (uint32_t i = 0; i < count; ++i) {
      put(kUpperLevelBits, UpperCode(level, PolarAngle(radii[2 * i], radii[2 * i + 1])));
      radii[i] = PolarRadius(radii[2 * i], radii[2 * i + 1]);
    }
    count /= 2;
  }
  code.radius = radii[0];
  return code;
}

PolarGroup DecodePolarGroup(const PolarGroupCode& code) {
  PolarGroup x = {};
  x[0] = code.radius;
  uint32_t shift = kPolarGroupAngleBits;
  for (uint32_t level = 3; level-- > 0;) {
    const uint32_t count = 4u >> level;  // angles of this level
    shift -= count * kUpperLevelBits;
    for (uint32_t i = count; i-- > 0;) {  // radius i becomes 2i and 2i + 1: from above, so that none is overwritten
      const uint32_t angle = static_cast<uint32_t>(code.angles >> (shift + i * kUpperLevelBits) & 3);
      const float radius = x[i];
      x[2 * i] = radius * kUpperLevels[level].cosine[angle];
      x[2 * i + 1] = radius * kUpperLevels[level].cosine[3 - angle];
    }
  }
  for (uint32_t i = kPolarGroup / 2; i-- > 0;) {
    const uint32_t angle = static_cast<uint32_t>(code.angles >> (i * kFirstLevelBits) & 15);
    const float radius = x[i];
    x[2 * i] = radius * kFirstLevelCosine[angle];
    x[2 * i + 1] = radius * FirstLevelSine(angle);
  }
  return x;
}

void ReadRecursivePolar(KvSide side, uint32_t head_dim, const uint8_t* payload, float* matrix) {
  const uint32_t token_stride = side == KvSide::kKey ? 1 : head_dim;
  const uint32_t coordinate_stride = side == KvSide::kKey ? kTileTokens : 1;
  const uint32_t groups = head_dim / kPolarGroup;
  const uint8_t* angles = payload + PolarGroupRadiusBytes(head_dim);
  const float to_image = std::ldexp(1.0f, -kPolarTopBinade);
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    for (uint32_t g = 0; g < groups; ++g) {
      const uint32_t group = t * groups + g;
      uint16_t radius;
      std::memcpy(&radius, payload + 2 * group, 2);
      const PolarGroup x = DecodePolarGroup({LoadAngles(angles, AngleBytes(head_dim), group), HalfToFloat(radius) * to_image});
      for (uint32_t j = 0; j < kPolarGroup; ++j) {
        matrix[t * token_stride + (g * kPolarGroup + j) * coordinate_stride] = x[j];
      }
    }
  }
}

ScaleRange RecursivePolarTileEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted,
                                             const TilePlanes<uint8_t>& planes, uint8_t*) const {
  const uint32_t head_dim = rotation_.head_dim(), groups = head_dim / kPolarGroup;
  const float rotated_norm = RotatedNorm(head_dim);
  const auto tile = std::make_unique<RotatedTile>();
  rotation_.Rotate(rows, tokens, counted, *tile);
  uint8_t* angles = planes.payload + PolarGroupRadiusBytes(head_dim);
  std::vector<float> radii(tokens * groups);  // but for the tokens' exponents
  bool any = false;
  int top = 0;  // binade of the largest radius
  for (uint32_t t = 0; t < tokens; ++t) {
    const LaneFloats* y = tile->y[t / kQuantizerLanes];
    const LaneNorms& norms = tile->norms[t / kQuantizerLanes];
    const float per_image = norms.norm[t % kQuantizerLanes] / rotated_norm;
    for (uint32_t g = 0; g < groups; ++g) {
      PolarGroup x;
      for (uint32_t j = 0; j < kPolarGroup; ++j) x[j] = y[g * kPolarGroup + j][t % kQuantizerLanes];
      const PolarGroupCode code = EncodePolarGroup(x);
      const float radius = code.radius * per_image;
      radii[t * groups + g] = radius;
      StoreAngles(angles, AngleBytes(head_dim), t * groups + g, code.angles);
      if (!(radius > 0)) continue;
      const int binade = std::ilogb(radius) + norms.exponent[t % kQuantizerLanes];
      top = any ? std::max(top, binade) : binade;
      any = true;
    }
  }
  const int exponent = any ? top - kPolarTopBinade : 0;
  for (uint32_t i = 0; i < tokens * groups; ++i) {
    const uint32_t t = i / groups;
    const int lift = tile->norms[t / kQuantizerLanes].exponent[t % kQuantizerLanes] - exponent;
    const uint16_t half = FloatToHalf(static_cast<float>(std::ldexp(double{radii[i]}, lift)));
    std::memcpy(planes.payload + 2 * i, &half, 2);
  }
  return {static_cast<int16_t>(exponent), 0};
}

}  // namespace polarkv
