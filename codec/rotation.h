// The signed block-Hadamard rotation of turbo codes: x -> H D x / sqrt(B), with D a diagonal of signs and H a Hadamard
// matrix for each run of B = RotationBlock(head_dim) coordinates. Orthonormal; its inverse is D H / sqrt(B).
#ifndef POLARKV_CODEC_ROTATION_H_
#define POLARKV_CODEC_ROTATION_H_

#include <array>
#include <cmath>
#include <cstdint>

#include "codec/block_spec.h"

namespace polarkv {

inline constexpr uint32_t kMaxHeadDim = 256;

// 1/sqrt(B), rounded to float: the one constant by which encoders and decoders normalise.
inline float RotationScale(uint32_t head_dim) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(RotationBlock(head_dim))));
}

// +1 or -1 for each coordinate. Coordinate j is negated if bit j%64 of the (j/64)-th output of the SplitMix64 generator
// seeded with `seed` is set, outputs counted from 0.
inline std::array<float, kMaxHeadDim> RotationSigns(uint64_t seed) {
  std::array<float, kMaxHeadDim> signs;
  for (uint32_t j = 0; j < kMaxHeadDim; j += 64) {
    seed += 0x9E3779B97F4A7C15u;
    uint64_t bits = seed;
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9u;
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EBu;
    bits ^= bits >> 31;
    for (uint32_t i = 0; i < 64; ++i) signs[j + i] = (bits >> i & 1) != 0 ? -1.0f : 1.0f;
  }
  return signs;
}

// Un-normalised Hadamard transforms, in place, of `columns` vectors side by side: x[coordinate * columns + column].
// Butterflies (a, b) -> (a + b, a - b) at strides 1, 2, 4, ..., B/2; the order is part of the format.
template <typename Number>
[[gnu::always_inline]] inline void HadamardBlocks(Number* x, uint32_t head_dim, uint32_t block, uint32_t columns) {
  for (uint32_t stride = 1; stride < block; stride *= 2) {
    for (uint32_t base = 0; base < head_dim; base += 2 * stride) {
      Number* __restrict low = x + base * columns;
      Number* __restrict high = low + stride * columns;
      for (uint32_t i = 0; i < stride * columns; ++i) {
        const Number a = low[i];
        const Number b = high[i];
        low[i] = a + b;
        high[i] = a - b;
      }
    }
  }
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_ROTATION_H_
