#include "codec/turbo_quantizer.h"

#include <cmath>

#include "codec/fma_target.h"

// The innermost loops run over the lanes, so that compilers vectorize them while each vector keeps its order of
// operations.
namespace polarkv {
namespace {

constexpr uint32_t kLanes = kQuantizerLanes;
constexpr uint32_t kPartialSums = 32;
using LaneFloats = float[kLanes];

// The power of two that `x` is multiplied with, as two factors because 2^149 is no float.
struct PowerOfTwo {
  LaneFloats first;
  LaneFloats second;
};

// x *= 2^-exponent, where 2^exponent is the binade of the largest coordinate: 1 <= max|x| < 2 afterwards.
[[gnu::always_inline]] inline void NormaliseExponents(LaneFloats* x, uint32_t head_dim, int* exponent) {
  LaneFloats largest = {};
  for (uint32_t j = 0; j < head_dim; ++j) {
    for (uint32_t l = 0; l < kLanes; ++l) {
      const float magnitude = std::fabs(x[j][l]);
      largest[l] = magnitude > largest[l] ? magnitude : largest[l];
    }
  }
  PowerOfTwo factor;
  for (uint32_t l = 0; l < kLanes; ++l) {
    exponent[l] = largest[l] > 0 ? std::ilogb(largest[l]) : 0;
    const int lift = exponent[l] < -126 ? 64 : 0;
    factor.first[l] = std::ldexp(1.0f, lift != 0 ? lift : -exponent[l]);
    factor.second[l] = std::ldexp(1.0f, lift != 0 ? -exponent[l] - lift : 0);
  }
  for (uint32_t j = 0; j < head_dim; ++j) {
    for (uint32_t l = 0; l < kLanes; ++l) x[j][l] = x[j][l] * factor.first[l] * factor.second[l];
  }
}

// Sum of a[j] * b[j] over the coordinates: 32 partial sums, then a tree.
[[gnu::always_inline]] inline void Sum(const LaneFloats* a, const LaneFloats* b, uint32_t head_dim, float* sum) {
  LaneFloats partial[kPartialSums] = {};
  for (uint32_t j = 0; j < head_dim; ++j) {
    float* p = partial[j % kPartialSums];
    for (uint32_t l = 0; l < kLanes; ++l) p[l] = std::fma(a[j][l], b[j][l], p[l]);
  }
  for (uint32_t stride = 1; stride < kPartialSums; stride *= 2) {
    for (uint32_t p = 0; p < kPartialSums; p += 2 * stride) {
      for (uint32_t l = 0; l < kLanes; ++l) partial[p][l] += partial[p + stride][l];
    }
  }
  for (uint32_t l = 0; l < kLanes; ++l) sum[l] = partial[0][l];
}

template <uint32_t kBits>
[[gnu::always_inline]] inline int Level(float magnitude) {
  if constexpr (kBits == 2) return magnitude >= kTurbo2Thresholds[0];
  if constexpr (kBits == 3) {
    return int{magnitude >= kTurbo3Thresholds[0]} + int{magnitude >= kTurbo3Thresholds[1]} +
           int{magnitude >= kTurbo3Thresholds[2]};
  }
  const float u = magnitude < kTurbo4LevelLimit ? magnitude : kTurbo4LevelLimit;
  const auto& c = kTurbo4LevelCubic;
  const int level = static_cast<int>(u * std::fma(u, std::fma(u, c[2], c[1]), c[0]));
  return level < 7 ? level : 7;
}

}  // namespace

template <uint32_t kBits>
[[gnu::always_inline]] inline void TurboQuantizer::QuantizeBody(QuantizerInput& in, QuantizedVectors& out) const {
  constexpr int kHalf = (1 << kBits) / 2;
  LaneFloats* y = in.x;
  NormaliseExponents(y, head_dim_, out.exponent);
  for (uint32_t j = 0; j < head_dim_; ++j) {
    for (uint32_t l = 0; l < kLanes; ++l) y[j][l] *= signs_[j];
  }
  HadamardBlocks(&y[0][0], head_dim_, block_, kLanes);

  LaneFloats squared_norm, norm, to_unit_variance;
  Sum(y, y, head_dim_, squared_norm);
  const float root_dim = std::sqrt(static_cast<float>(head_dim_));
  for (uint32_t l = 0; l < kLanes; ++l) {
    norm[l] = std::sqrt(squared_norm[l]);
    to_unit_variance[l] = norm[l] > 0 ? root_dim / norm[l] : 0;
  }

  alignas(64) LaneFloats image[kMaxHeadDim];
  const std::array<int8_t, 16>& images = TurboCodebookFor(codec_, kBits).image;
  std::array<float, 16> image_of;
  for (uint32_t c = 0; c < image_of.size(); ++c) image_of[c] = images[c];
  for (uint32_t j = 0; j < head_dim_; ++j) {
    for (uint32_t l = 0; l < kLanes; ++l) {
      const float z = y[j][l] * to_unit_variance[l];
      const int level = Level<kBits>(std::fabs(z));
      const int code = z < 0 ? kHalf - 1 - level : kHalf + level;
      out.code[j][l] = static_cast<uint8_t>(code);
      image[j][l] = image_of[code];
    }
  }

  // Keys: <y, s C> = <y, y>. Values: |s C| = |y|. The Hadamard transform above lacks its factor 1/sqrt(B).
  LaneFloats sum;
  Sum(side_ == KvSide::kKey ? y : image, image, head_dim_, sum);
  const float rotation_scale = RotationScale(head_dim_);
  for (uint32_t l = 0; l < kLanes; ++l) {
    const float scale = side_ == KvSide::kKey ? squared_norm[l] / sum[l] : norm[l] / std::sqrt(sum[l]);
    out.mantissa[l] = norm[l] > 0 ? scale * rotation_scale : 0;
  }
}

template <uint32_t kBits>
void TurboQuantizer::QuantizeBits(QuantizerInput& in, QuantizedVectors& out) const {
  QuantizeBody<kBits>(in, out);
}

template <uint32_t kBits>
POLARKV_FMA_TARGET void TurboQuantizer::QuantizeBitsFma(QuantizerInput& in, QuantizedVectors& out) const {
  QuantizeBody<kBits>(in, out);
}

TurboQuantizer::TurboQuantizer(CodecId codec, KvSide side, uint32_t head_dim, uint64_t rotation_seed)
    : codec_(codec),
      side_(side),
      head_dim_(head_dim),
      block_(RotationBlock(head_dim)),
      signs_(RotationSigns(rotation_seed)) {}

void TurboQuantizer::Quantize(QuantizerInput& in, QuantizedVectors& out) const {
  const bool fma = HasHardwareFma();
  switch (bits()) {
    case 2:
      return fma ? QuantizeBitsFma<2>(in, out) : QuantizeBits<2>(in, out);
    case 3:
      return fma ? QuantizeBitsFma<3>(in, out) : QuantizeBits<3>(in, out);
    default:
      return fma ? QuantizeBitsFma<4>(in, out) : QuantizeBits<4>(in, out);
  }
}

}  // namespace polarkv
