#include "codec/recursive_polar.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "codec/polar_coordinates.h"

namespace polarkv {
namespace {

constexpr uint32_t kFirstLevelBits = 4, kUpperLevelBits = 2, kAngleBits = 46;

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

}  // namespace

uint64_t EncodePolarGroup(const PolarGroup& x, float to_radius_code) {
  uint64_t code = 0;
  uint32_t shift = 0;
  const auto put = [&](uint32_t bits, uint32_t value) {
    code |= uint64_t{value} << shift;
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
  const float radius = radii[0] * to_radius_code + 0.5f;
  return code | uint64_t{static_cast<uint32_t>(std::min(radius, kMaxGroupRadius))} << kAngleBits;
}

PolarGroup DecodePolarGroup(uint64_t code) {
  PolarGroup x = {};
  x[0] = static_cast<float>(code >> kAngleBits & 1023);
  uint32_t shift = kAngleBits;
  for (uint32_t level = 3; level-- > 0;) {
    const uint32_t count = 4u >> level;  // angles of this level
    shift -= count * kUpperLevelBits;
    for (uint32_t i = count; i-- > 0;) {  // radius i becomes 2i and 2i + 1: from above, so that none is overwritten
      const uint32_t angle = static_cast<uint32_t>(code >> (shift + i * kUpperLevelBits) & 3);
      const float radius = x[i];
      x[2 * i] = radius * kUpperLevels[level].cosine[angle];
      x[2 * i + 1] = radius * kUpperLevels[level].cosine[3 - angle];
    }
  }
  for (uint32_t i = kPolarGroup / 2; i-- > 0;) {
    const uint32_t angle = static_cast<uint32_t>(code >> (i * kFirstLevelBits) & 15);
    const float radius = x[i];
    x[2 * i] = radius * kFirstLevelCosine[angle];
    x[2 * i + 1] = radius * FirstLevelSine(angle);
  }
  return x;
}

void ReadRecursivePolar(KvSide side, uint32_t head_dim, const uint8_t* payload, float* matrix) {
  const uint32_t token_stride = side == KvSide::kKey ? 1 : head_dim;
  const uint32_t coordinate_stride = side == KvSide::kKey ? kTileTokens : 1;
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    for (uint32_t first = 0; first < head_dim; first += kPolarGroup, payload += kPolarGroupBytes) {
      uint64_t code = 0;
      std::memcpy(&code, payload, kPolarGroupBytes);
      const PolarGroup x = DecodePolarGroup(code);
      for (uint32_t j = 0; j < kPolarGroup; ++j) matrix[t * token_stride + (first + j) * coordinate_stride] = x[j];
    }
  }
}

ScaleRange RecursivePolarTileEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted,
                                             const TilePlanes<uint8_t>& planes, uint8_t* scales) const {
  const uint32_t head_dim = rotation_.head_dim();
  const uint32_t groups = head_dim / kPolarGroup;
  const auto tile = std::make_unique<RotatedTile>();
  rotation_.Rotate(rows, tokens, counted, *tile);
  std::vector<PolarGroup> x(groups);
  for (uint32_t t = 0; t < tokens; ++t) {
    if ((counted >> t & 1) == 0) continue;
    const LaneFloats* y = tile->y[t / kQuantizerLanes];
    float largest = 0;
    for (uint32_t g = 0; g < groups; ++g) {
      float square = 0;
      for (uint32_t j = 0; j < kPolarGroup; ++j) {
        x[g][j] = y[g * kPolarGroup + j][t % kQuantizerLanes];
        square = std::fma(x[g][j], x[g][j], square);
      }
      largest = std::max(largest, std::sqrt(square));
    }
    const float to_radius_code = largest > 0 ? kMaxGroupRadius / largest : 0;
    for (uint32_t g = 0; g < groups; ++g) {
      const uint64_t code = EncodePolarGroup(x[g], to_radius_code);
      std::memcpy(planes.payload + (t * groups + g) * kPolarGroupBytes, &code, kPolarGroupBytes);
    }
  }
  std::vector<float> images(size_t{kTileTokens} * head_dim);
  ReadRecursivePolar(rotation_.side(), head_dim, planes.payload, images.data());
  return rotation_.StoreImageScales(*tile, images.data(), tokens, scales);
}

}  // namespace polarkv
