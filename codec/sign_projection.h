// Orthogonal projections whose signs sketch a vector (FORMAT.md, "Sign sketches"; QJL, arXiv 2406.03482, and the
// residual of TurboQuant, arXiv 2504.19874).
#ifndef POLARKV_CODEC_SIGN_PROJECTION_H_
#define POLARKV_CODEC_SIGN_PROJECTION_H_

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "codec/rotation.h"

namespace polarkv {

// What a unit vector's inner products are multiplied with, so that the sum over an orthonormal basis of sign(s.x) s
// estimates x without bias: 1 / (d E|u|), with u a coordinate of a random unit vector. Gamma((d+1)/2) sqrt(pi) / (d
// Gamma(d/2)).
inline float SketchConstant(uint32_t head_dim) {
  switch (head_dim) {
    case 64:
      return .15605352f;
    case 80:
      return .13968759f;
    case 96:
      return .12758316f;
    case 128:
      return .11056221f;
    case 192:
      return .09033246f;
    default:
      return .07825567f;
  }
}

// Projection number `index` of rotated vectors, times P = the largest power of two up to head_dim: signs, Hadamard
// transform of the first P coordinates, signs, Hadamard transform of the last P. Independent of the rotation, unlike
// its own transform applied again, and mixing all coordinates, whatever the head_dim. Coordinates that a transform
// leaves out are multiplied by sqrt(P), so that all are scaled alike.
class SignProjection {
 public:
  SignProjection(uint32_t head_dim, uint64_t rotation_seed, uint32_t index)
      : head_dim_(head_dim),
        block_(std::bit_floor(head_dim)),
        root_(std::sqrt(static_cast<float>(block_))),
        first_signs_(RotationSigns(FactorSeed(rotation_seed, 2 * index))),
        second_signs_(RotationSigns(FactorSeed(rotation_seed, 2 * index + 1))) {}

  // Of the signs before transform number `factor`: two for each projection.
  static constexpr uint64_t FactorSeed(uint64_t rotation_seed, uint32_t factor) {
    return rotation_seed + kSeedStep * (uint64_t{factor} + 1);
  }

  uint32_t block() const { return block_; }

  // In place, of `columns` vectors side by side: x[coordinate * columns + column].
  [[gnu::always_inline]] inline void Apply(float* x, uint32_t columns) const {
    Multiply(x, columns, first_signs_.data());
    Transform(x, 0, columns);
    Multiply(x, columns, second_signs_.data());
    Transform(x, head_dim_ - block_, columns);
  }
  [[gnu::always_inline]] inline void ApplyTransposed(float* x, uint32_t columns) const {
    Transform(x, head_dim_ - block_, columns);
    Multiply(x, columns, second_signs_.data());
    Transform(x, 0, columns);
    Multiply(x, columns, first_signs_.data());
  }

 private:
  static constexpr uint64_t kSeedStep = 0xD1B54A32D192ED03;

  [[gnu::always_inline]] inline void Multiply(float* x, uint32_t columns, const float* signs) const {
    for (uint32_t j = 0; j < head_dim_; ++j) {
      for (uint32_t c = 0; c < columns; ++c) x[j * columns + c] *= signs[j];
    }
  }
  [[gnu::always_inline]] inline void Transform(float* x, uint32_t first, uint32_t columns) const {
    HadamardBlocks(x + first * columns, block_, block_, columns);
    for (uint32_t j = 0; j < head_dim_; ++j) {
      if (j >= first && j < first + block_) continue;
      for (uint32_t c = 0; c < columns; ++c) x[j * columns + c] *= root_;
    }
  }

  uint32_t head_dim_, block_;
  float root_;
  std::array<float, kMaxHeadDim> first_signs_, second_signs_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_SIGN_PROJECTION_H_
