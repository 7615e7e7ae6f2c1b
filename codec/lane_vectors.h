// Vectors side by side in lanes: rotation, norms and scales, in the arithmetic that FORMAT.md prescribes ("Rotated
// vectors"). Innermost loops run over the lanes, so that compilers vectorize them while each vector keeps its order of operations.
// To be instantiated plainly and inside POLARKV_FMA_TARGET functions.
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

struct LaneNorms {
  alignas(64) LaneFloats squared;
  alignas(64) LaneFloats norm;
  alignas(64) LaneFloats to_unit_variance;  // sqrt(head_dim) / norm; 0 for the zero vector
  int exponent[kQuantizerLanes];            // the vector is 2^exponent times what the norms and coordinates say
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

// Sum of a[j] * b[j] over the coordinates: 32 partial sums, then a tree.
[[gnu::always_inline]] inline void SumOfProducts(const LaneFloats* a, const LaneFloats* b, uint32_t head_dim, float* sum) {
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

// y: finite vectors; afterwards rotated, but for the factor RotationScale and 2^exponent.
[[gnu::always_inline]] inline void RotateLanes(LaneFloats* y, uint32_t head_dim, const float* signs, LaneNorms& norms) {
  NormaliseExponents(y, head_dim, norms.exponent);
  for (uint32_t j = 0; j < head_dim; ++j) {
    for (uint32_t l = 0; l < kQuantizerLanes; ++l) y[j][l] *= signs[j];
  }
  HadamardBlocks(&y[0][0], head_dim, RotationBlock(head_dim), kQuantizerLanes);
  SumOfProducts(y, y, head_dim, norms.squared);
  const float root_dim = std::sqrt(static_cast<float>(head_dim));
  for (uint32_t l = 0; l < kQuantizerLanes; ++l) {
    norms.norm[l] = std::sqrt(norms.squared[l]);
    norms.to_unit_variance[l] = norms.norm[l] > 0 ? root_dim / norms.norm[l] : 0;
  }
}

// The scale of each lane's images. Keys: <y, s image> = <y, y>, so that scores are unbiased. Values: |s image| = |y|.
// Images that are all zero (of vectors that are not) get the scale 0.
[[gnu::always_inline]] inline void ScaleLanes(KvSide side, const LaneFloats* y, const LaneFloats* image,
                                              uint32_t head_dim, const LaneNorms& norms, float* mantissa) {
  alignas(64) LaneFloats sum;
  SumOfProducts(side == KvSide::kKey ? y : image, image, head_dim, sum);
  const float rotation_scale = RotationScale(head_dim);
  for (uint32_t l = 0; l < kQuantizerLanes; ++l) {
    const float scale =
        side == KvSide::kKey ? norms.squared[l] / sum[l] : norms.norm[l] / std::sqrt(sum[l]);
    mantissa[l] = norms.norm[l] > 0 && sum[l] > 0 ? scale * rotation_scale : 0;
  }
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_LANE_VECTORS_H_
