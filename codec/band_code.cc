#include "codec/band_code.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "codec/fma_target.h"
#include "codec/lane_vectors.h"
#include "codec/polar_coordinates.h"
#include "codec/trellis_search.h"
#include "codec/turbo_codebook.h"

namespace polarkv {
namespace {

constexpr uint32_t kLanes = kQuantizerLanes;
constexpr uint32_t kCodes = kBandCoordinates;
constexpr uint32_t kStepsPerOctave = 16;  // of deviations
constexpr int kUnitDeviation = 32;        // the code of deviation 1
// Images are larger than deviations by this, and by the transform's 4, so that no scale exceeds the largest float.
constexpr float kImageScale = 64;

// Coordinates in the order of the bands.
std::array<uint8_t, kMaxHeadDim> BandOrder(const BandTable& bands, const Rope& rope, uint32_t head_dim) {
  std::array<uint8_t, kMaxHeadDim> order{};
  for (uint32_t i = 0; i < head_dim / 2; ++i) {
    const CoordinatePair pair = PairOf(rope, head_dim, bands.pair[i]);
    order[2 * i] = static_cast<uint8_t>(pair.first);
    order[2 * i + 1] = static_cast<uint8_t>(pair.second);
  }
  return order;
}

// The transform's signs do not depend on the block: it has a seed only if another codec rotates.
const std::array<float, kMaxHeadDim>& BandSigns() {
  static const auto* signs = new std::array<float, kMaxHeadDim>(RotationSigns(BlockSpec::kDefaultRotationSeed));
  return *signs;
}

// Codes of one token in one band, a string of bits, lowest first.
using TokenCodes = std::array<uint8_t, kCodes>;

void PutCodes(uint32_t bits, const TokenCodes& codes, uint8_t* out) {
  for (uint32_t half = 0; half < 2; ++half, out += bits) {  // eight codes fill `bits` bytes
    uint64_t word = 0;
    for (uint32_t i = 0; i < 8; ++i) word |= uint64_t{codes[8 * half + i]} << (bits * i);
    std::memcpy(out, &word, bits);
  }
}

TokenCodes GetCodes(uint32_t bits, const uint8_t* in) {
  TokenCodes codes;
  for (uint32_t half = 0; half < 2; ++half, in += bits) {
    uint64_t word = 0;
    std::memcpy(&word, in, bits);
    for (uint32_t i = 0; i < 8; ++i) codes[8 * half + i] = static_cast<uint8_t>(word >> (bits * i) & ((1u << bits) - 1));
  }
  return codes;
}

// Codes of 6 bits, which only bands have: a Lloyd-Max quantizer's thresholds and the integers nearest to its levels.
constexpr std::array<float, 31> kFineThresholds = {
    .066844f,  .133788f,  .200932f,  .268380f,  .336238f,  .404616f,  .473632f,  .543409f,  .614080f,  .685789f, .758695f,
    .832972f,  .908816f,  .986446f,  1.066113f, 1.148105f, 1.232758f, 1.320468f, 1.411709f, 1.507054f, 1.607211f,
    1.713066f, 1.825760f, 1.946795f, 2.078211f, 2.222896f, 2.385143f, 2.571790f, 2.794841f, 3.078922f, 3.492270f};
constexpr std::array<int8_t, 32> kFineLevels = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 26, 28, 30, 33,
                                                35, 38, 40, 43, 46, 49, 52, 56, 59, 63, 68, 73, 79, 86, 96, 110};
constexpr float kFineUnit = 29.5f;

// Of 4 to 6 bits.
float RoundedImage(uint32_t bits, uint32_t code) {
  if (bits == 6) return code < 32 ? -kFineLevels[31 - code] : kFineLevels[code - 32];
  return (bits == 4 ? kTurbo4 : kTurbo5).image[code];
}

float UnitOf(uint32_t bits) {
  if (bits <= 3) return TrellisCodebookFor(bits).unit;
  return 1 / (bits == 4 ? kTurbo4.unit : bits == 5 ? kTurbo5.unit : kFineUnit);
}

// What codes stand for, in images.
std::array<float, kCodes> ImagesOf(uint32_t bits, const TokenCodes& codes) {
  std::array<float, kCodes> images;
  if (bits > 3) {
    for (uint32_t i = 0; i < kCodes; ++i) images[i] = RoundedImage(bits, codes[i]);
    return images;
  }
  uint32_t window = 0;
  for (uint32_t i = kCodes - 4; i < kCodes; ++i) window = window << bits | codes[i];
  for (uint32_t i = 0; i < kCodes; ++i) {
    window = (window << bits | codes[i]) & (kTrellisWindows - 1);
    images[i] = TrellisCodebookFor(bits).image[window];
  }
  return images;
}

void SearchRings(uint32_t bits, const LaneFloats* z, TokenCodes* codes) {
  const TrellisCodebook& book = TrellisCodebookFor(bits);
  std::array<float, kTrellisWindows> table;
  for (uint32_t w = 0; w < kTrellisWindows; ++w) table[w] = static_cast<float>(book.image[w]) * book.unit;
  TrellisTargets targets;
  for (uint32_t i = 0; i < kCodes; ++i) {
    std::copy_n(z[i], kLanes, targets.x[i]);
    std::fill_n(targets.weight[i], kLanes, 1.0f);
  }
  TrellisRings rings;
  SearchTrellis(bits, kCodes, table, targets, rings);
  for (uint32_t l = 0; l < kLanes; ++l) {
    for (uint32_t i = 0; i < kCodes; ++i) {
      const uint32_t place = kCodes - 1 - i;
      const uint32_t symbol = bits == 1   ? rings.upper[l] >> place & 1
                              : bits == 2 ? rings.upper[l] >> (2 * place) & 3
                                          : (rings.upper[l] >> (2 * place) & 3) << 1 | (rings.lower[l] >> place & 1);
      codes[l][i] = static_cast<uint8_t>(symbol);
    }
  }
}

// The level of a magnitude, of a coordinate of variance 1.
template <uint32_t kBits>
int LevelOf(float magnitude) {
  int level = 0;
  if constexpr (kBits == 6) {
    for (const float threshold : kFineThresholds) level += magnitude >= threshold ? 1 : 0;
  } else {
    const float rotated = magnitude * static_cast<float>(kRotatedDeviation);
    for (const int threshold : TurboThresholds<kBits>()) level += rotated >= static_cast<float>(threshold) ? 1 : 0;
  }
  return level;
}

template <uint32_t kBits>
void RoundCodes(const LaneFloats* z, TokenCodes* codes) {
  constexpr int kHalf = (1 << kBits) / 2;
  for (uint32_t l = 0; l < kLanes; ++l) {
    for (uint32_t i = 0; i < kCodes; ++i) {
      const int level = LevelOf<kBits>(std::fabs(z[i][l]));
      codes[l][i] = static_cast<uint8_t>(z[i][l] < 0 ? kHalf - 1 - level : kHalf + level);
    }
  }
}

void ChooseCodes(uint32_t bits, const LaneFloats* z, TokenCodes* codes) {
  if (bits <= 3) return SearchRings(bits, z, codes);
  bits == 4 ? RoundCodes<4>(z, codes) : bits == 5 ? RoundCodes<5>(z, codes) : RoundCodes<6>(z, codes);
}

// Thirty-two keys side by side, coordinates in the order of the bands, and what encoding makes of them.
struct LaneKeys {
  alignas(64) LaneFloats y[kMaxHeadDim];
  alignas(64) LaneFloats image[kMaxHeadDim];
  alignas(64) LaneFloats squared, product, image_squared;
  int exponent[kLanes];
};

POLARKV_FMA_TARGET void SumFma(const LaneFloats* a, const LaneFloats* b, uint32_t head_dim, float* sum) {
  SumOfProducts(a, b, head_dim, sum);
}
void SumPlain(const LaneFloats* a, const LaneFloats* b, uint32_t head_dim, float* sum) {
  SumOfProducts(a, b, head_dim, sum);
}
void Sum(const LaneFloats* a, const LaneFloats* b, uint32_t head_dim, float* sum) {
  (HasHardwareFma() ? SumFma : SumPlain)(a, b, head_dim, sum);
}

// The transform of a band: its inverse without its factor is the same, with the signs after it.
void TransformBand(LaneFloats* x) { HadamardBlocks(&x[0][0], kCodes, kCodes, kLanes); }

// Codes of one band of the keys, those of lane 0 at `out`, and their images.
void CodeBand(const BandTable& bands, uint32_t band, uint32_t head_dim, LaneKeys& keys, uint8_t* out) {
  const uint32_t bits = bands.bits[band];
  LaneFloats* y = keys.y + band * kCodes;
  LaneFloats* image = keys.image + band * kCodes;
  if (bits == 0) {
    std::fill_n(&image[0][0], kCodes * kLanes, 0.0f);
    return;
  }
  const float* signs = BandSigns().data() + band * kCodes;
  alignas(64) LaneFloats z[kCodes];
  for (uint32_t i = 0; i < kCodes; ++i) {
    for (uint32_t l = 0; l < kLanes; ++l) z[i][l] = y[i][l] * signs[i];
  }
  TransformBand(z);
  const float root_dim = std::sqrt(static_cast<float>(head_dim));
  const float deviation = BandDeviation(bands.deviation[band]), to_unit = 1 / (4 * deviation);
  for (uint32_t l = 0; l < kLanes; ++l) {
    const float per_norm = keys.squared[l] > 0 ? root_dim / std::sqrt(keys.squared[l]) : 0;
    for (uint32_t i = 0; i < kCodes; ++i) z[i][l] = z[i][l] * per_norm * to_unit;
  }
  TokenCodes codes[kLanes];
  ChooseCodes(bits, z, codes);
  const float amplitude = UnitOf(bits) * deviation * kImageScale;
  for (uint32_t l = 0; l < kLanes; ++l) {
    if (keys.squared[l] > 0) PutCodes(bits, codes[l], out + l * 2 * bits);
    const std::array<float, kCodes> images = ImagesOf(bits, codes[l]);
    for (uint32_t i = 0; i < kCodes; ++i) image[i][l] = images[i] * amplitude;
  }
  TransformBand(image);
  for (uint32_t i = 0; i < kCodes; ++i) {
    for (uint32_t l = 0; l < kLanes; ++l) image[i][l] *= signs[i];
  }
}

// Unbiased, but no longer than twice what keeps the norm: where a key has what its bands do not, hardly anything may be left.
void FindScales(uint32_t head_dim, LaneKeys& keys, uint32_t lanes, float* mantissa, int* exponent) {
  Sum(keys.y, keys.image, head_dim, keys.product);
  Sum(keys.image, keys.image, head_dim, keys.image_squared);
  for (uint32_t l = 0; l < lanes; ++l) {
    const float squared = keys.squared[l], product = keys.product[l];
    if (!(squared > 0) || !(product > 0)) continue;
    mantissa[l] = std::min(squared / product, 2 * std::sqrt(squared) / std::sqrt(keys.image_squared[l]));
    exponent[l] = keys.exponent[l];
  }
}

}  // namespace

float BandDeviation(uint8_t code) {
  const int step = (kUnitDeviation - int{code}) * (kScaleSteps / static_cast<int>(kStepsPerOctave));
  return static_cast<float>(std::ldexp(double{kOctave[step & (kScaleSteps - 1)]}, step >> kScaleStepBits));
}

uint8_t BandDeviationCode(float deviation) {
  constexpr int kCoarse = kScaleSteps / static_cast<int>(kStepsPerOctave);
  if (!(deviation > 0)) return 255;
  const int step = ScaleStep(deviation, 0) + kCoarse / 2;
  const int rounded = step >= 0 ? step / kCoarse : -((kCoarse - 1 - step) / kCoarse);
  return static_cast<uint8_t>(std::clamp(kUnitDeviation - rounded, 0, 255));
}

void ReadBands(const BandTable& bands, const Rope& rope, uint32_t head_dim, const uint8_t* payload, float* matrix) {
  const std::array<uint8_t, kMaxHeadDim> order = BandOrder(bands, rope, head_dim);
  float band[kCodes * kTileTokens];
  for (uint32_t b = 0; b < BandCount(head_dim); ++b) {
    const uint32_t bits = bands.bits[b];
    std::fill_n(band, kCodes * kTileTokens, 0.0f);
    if (bits != 0) {
      const float amplitude = UnitOf(bits) * BandDeviation(bands.deviation[b]) * kImageScale;
      for (uint32_t t = 0; t < kTileTokens; ++t, payload += 2 * bits) {
        const std::array<float, kCodes> images = ImagesOf(bits, GetCodes(bits, payload));
        for (uint32_t i = 0; i < kCodes; ++i) band[i * kTileTokens + t] = images[i] * amplitude;
      }
      HadamardBlocks(band, kCodes, kCodes, kTileTokens);
    }
    for (uint32_t i = 0; i < kCodes; ++i) {
      const uint32_t place = b * kCodes + i;
      float* out = matrix + order[place] * kTileTokens;
      for (uint32_t t = 0; t < kTileTokens; ++t) out[t] = band[i * kTileTokens + t] * BandSigns()[place];
    }
  }
}

ScaleRange BandTileEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted,
                                   const TilePlanes<uint8_t>& planes, uint8_t* scales) const {
  const std::array<uint8_t, kMaxHeadDim> order = BandOrder(bands_, rope_, head_dim_);
  const auto keys = std::make_unique<LaneKeys>();
  float mantissa[kTileTokens] = {};
  int exponent[kTileTokens] = {};
  for (uint32_t first = 0; first < tokens; first += kLanes) {
    for (uint32_t j = 0; j < head_dim_; ++j) {
      for (uint32_t l = 0; l < kLanes; ++l) {
        const bool counts = first + l < tokens && (counted >> (first + l) & 1) != 0;
        keys->y[j][l] = counts ? rows[(first + l) * head_dim_ + order[j]] : 0;
      }
    }
    NormaliseExponents(keys->y, head_dim_, keys->exponent);
    Sum(keys->y, keys->y, head_dim_, keys->squared);
    uint8_t* out = planes.payload;
    for (uint32_t b = 0; b < BandCount(head_dim_); ++b) {
      CodeBand(bands_, b, head_dim_, *keys, out + first * 2 * bands_.bits[b]);
      out += kBandBytesPerBit * bands_.bits[b];
    }
    FindScales(head_dim_, *keys, std::min(kLanes, tokens - first), mantissa + first, exponent + first);
  }
  return StoreScales(mantissa, exponent, tokens, scales);
}

}  // namespace polarkv
