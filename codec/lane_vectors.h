// Vectors side by side in lanes: rotation, norms and scales, in the arithmetic that FORMAT.md prescribes ("Rotated
// vectors"). Innermost loops run over the lanes, so that compilers vectorize them while each vector keeps its order of
// operations. To be instantiated plainly and inside POLARKV_FMA_TARGET functions.
#ifndef POLARKV_CODEC_LANE_VECTORS_H_
#define POLARKV_CODEC_LANE_VECTORS_H_

#include <array>
#include <cmath>
#include <cstdint>

#include "codec/kv_side.h"
#include "codec/quantizer_lanes.h"
#include "codec/rotation.h"

namespace polarkv {

using LaneFloats = float[kQuantizerLanes];

// Rotated coordinates are integers whose root mean square is this: 52 * 32, so that thresholds for the codes of 2 to 4 bits
// are close to multiples of 32, and the largest sums, of d = 256 coordinates, fit 16 bits.
inline constexpr uint32_t kRotatedDeviation = 1664;
inline constexpr float kToUnitVariance = 1.0f / kRotatedDeviation;

// What a vector of norm 1 is multiplied by before it is rounded to integers and rotated.
inline float RotationGain(uint32_t head_dim) {
  return static_cast<float>(kRotatedDeviation * std::sqrt(static_cast<double>(head_dim / RotationBlock(head_dim))));
}
// The norm of the integers after the rotation.
inline float RotatedNorm(uint32_t head_dim) {
  return static_cast<float>(kRotatedDeviation * std::sqrt(static_cast<double>(head_dim)));
}

struct LaneNorms {
  alignas(64) LaneFloats norm;    // of the vector times 2^-exponent
  int exponent[kQuantizerLanes];
};

// x *= 2^-exponent, where 2^exponent is the binade of the largest coordinate: 1 <= max|x| < 2 afterwards.
[[gnu::always_inline]] inline void NormaliseExponents(LaneFloats* x, uint32_t head_dim, int* exponent) {
  LaneFloats largest = {};
  for (uint32_t j = 0; j < head_dim; ++j) {
    for (uint32_t l = 0; l < kQuantizerLanes; ++l) {
      const float magnitude = std::fabs(x[j][l]);
      largest[l] = magnitude > largest[l] ? magnitude : largest[l];
    }
  }
  // Two factors, because 2^149 is no float.
  LaneFloats first, second;
  for (uint32_t l = 0; l < kQuantizerLanes; ++l) {
    exponent[l] = largest[l] > 0 ? std::ilogb(largest[l]) : 0;
    const int lift = exponent[l] < -126 ? 64 : 0;
    first[l] = std::ldexp(1.0f, lift != 0 ? lift : -exponent[l]);
    second[l] = std::ldexp(1.0f, lift != 0 ? -exponent[l] - lift : 0);
  }
  for (uint32_t j = 0; j < head_dim; ++j) {
    for (uint32_t l = 0; l < kQuantizerLanes; ++l) x[j][l] = x[j][l] * first[l] * second[l];
  }
}

// The integer nearest to a * b, ties to even, below 2^22: beside 3 * 2^22 there are no bits below the unit.
[[gnu::always_inline]] inline float RoundProduct(float a, float b) { return std::fma(a, b, 0x1.8p23f) - 0x1.8p23f; }

// Sum of a[j] * b[j] over the coordinates: 32 partial sums, then a tree.
[[gnu::always_inline]] inline void SumOfProducts(const LaneFloats* a, const LaneFloats* b, uint32_t head_dim,
                                                 float* sum) {
  constexpr uint32_t kPartialSums = 32;
  LaneFloats partial[kPartialSums] = {};
  for (uint32_t j = 0; j < head_dim; ++j) {
    float* p = partial[j % kPartialSums];
    for (uint32_t l = 0; l < kQuantizerLanes; ++l) p[l] = std::fma(a[j][l], b[j][l], p[l]);
  }
  for (uint32_t stride = 1; stride < kPartialSums; stride *= 2) {
    for (uint32_t p = 0; p < kPartialSums; p += 2 * stride) {
      for (uint32_t l = 0; l < kQuantizerLanes; ++l) partial[p][l] += partial[p + stride][l];
    }
  }
  for (uint32_t l = 0; l < kQuantizerLanes; ++l) sum[l] = partial[0][l];
}

// y: finite vectors; afterwards integers, the vectors at the norm RotationGain(head_dim), rotated but for
// RotationScale(head_dim). Zero vectors stay zero.
[[gnu::always_inline]] inline void RotateLanes(LaneFloats* y, uint32_t head_dim, const float* signs, LaneNorms& norms) {
  NormaliseExponents(y, head_dim, norms.exponent);
  LaneFloats squared, gain;
  SumOfProducts(y, y, head_dim, squared);
  for (uint32_t l = 0; l < kQuantizerLanes; ++l) {
    norms.norm[l] = std::sqrt(squared[l]);
    gain[l] = norms.norm[l] > 0 ? RotationGain(head_dim) / norms.norm[l] : 0;
  }
  for (uint32_t j = 0; j < head_dim; ++j) {
    for (uint32_t l = 0; l < kQuantizerLanes; ++l) y[j][l] = RoundProduct(y[j][l], gain[l]) * signs[j];
  }
  HadamardBlocks(&y[0][0], head_dim, RotationBlock(head_dim), kQuantizerLanes);
}

// The scale of each lane's images. Keys: <y, s image> = <y, y>, so that scores are unbiased. Values: |s image| = |y|.
// Images that are all zero (of vectors that are not) get the scale 0. Sums are exact where images are integers.
[[gnu::always_inline]] inline void ScaleLanes(KvSide side, const LaneFloats* y, const LaneFloats* image,
                                              uint32_t head_dim, const LaneNorms& norms, float* mantissa) {
  double sum[kQuantizerLanes] = {};
  const LaneFloats* other = side == KvSide::kKey ? y : image;
  for (uint32_t j = 0; j < head_dim; ++j) {
    for (uint32_t l = 0; l < kQuantizerLanes; ++l) sum[l] += double{other[j][l]} * image[j][l];
  }
  const float rotated_norm = RotatedNorm(head_dim);
  for (uint32_t l = 0; l < kQuantizerLanes; ++l) {
    const auto rounded = static_cast<float>(sum[l]);
    const float scale = side == KvSide::kKey ? norms.norm[l] * rotated_norm / rounded : norms.norm[l] / std::sqrt(rounded);
    mantissa[l] = norms.norm[l] > 0 && rounded > 0 ? scale : 0;
  }
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_LANE_VECTORS_H_
