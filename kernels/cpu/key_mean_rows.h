// Key means: sums of keys, keys without their mean, and with it again; the arithmetic of codec/key_mean.h and
// codec/rope_phase.h, to the bit.
//
// Plain structs and pointers only, for the reason that turbo_attention.h gives.
#ifndef POLARKV_KERNELS_CPU_KEY_MEAN_ROWS_H_
#define POLARKV_KERNELS_CPU_KEY_MEAN_ROWS_H_

#include <cstdint>

#include "kernels/cpu/turbo_encode.h"

namespace polarkv::cpu {

// Which coordinates RoPE turns together. Pair number p: below `distance` coordinate p and the one `distance` beyond, from there
// on coordinates 2 p and 2 p + 1. With `even_odd`, 16 pairs a register, for p < distance, a multiple of 32: coordinate
// 32 (r / 2) + 2 l + r % 2 and the one `distance` beyond, r and l being p / 16 and p % 16. What is turned comes first.
struct KeyPairs {
  uint32_t distance = 0;
  bool even_odd = false;
};
struct PairCoordinates {
  uint32_t first, second;
};
inline PairCoordinates CoordinatesOf(const KeyPairs& pairs, uint32_t p) {
  if (p >= pairs.distance) return {2 * p, 2 * p + 1};
  const uint32_t r = p / 16, l = p % 16;
  const uint32_t first = pairs.even_odd ? 32 * (r / 2) + 2 * l + r % 2 : p;
  return {first, first + pairs.distance};
}

// Cosines and sines by pair, or the two coordinates of pairs.
struct PairNumbers {
  alignas(64) float first[128];
  alignas(64) float second[128];
};

// Directions of phase[p] * position turns, of d / 2 pairs (a multiple of 16); phases of pairs that nothing turns are 0.
void DirectionsAvx512(const uint64_t* phases, uint64_t position, uint32_t pairs, float* cosine, float* sine);

// Sums of every stride-th of the rows, the first included, those of `rows.counted`, each turned back by `step` before the one
// before it is added; and their energy.
void SumKeysAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t stride, const KeyPairs& pairs,
                   const PairNumbers& step, PairNumbers& sum, float* energy);

// Residual [tokens][head_dim], 64-byte aligned: the keys, without the turned mean if their product with it is above
// `half_square`, which the result tells of each. turns: [tokens][cosines, sines by pair].
uint64_t TakeMeanOffAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, const KeyPairs& pairs,
                           const PairNumbers& mean, const float* turns, float half_square, float* residual);

// A mean and how RoPE turns it. `pairs` leading pairs are turned, a multiple of 16.
struct TurnedMean {
  const float* mean = nullptr;  // [head_dim]
  const uint64_t* phases = nullptr;
  uint32_t pairs = 0;
  uint32_t head_dim = 0;
  bool interleaved = false;  // pairs (2 p, 2 p + 1), else (p, p + pairs)
};

// Adds the mean, turned to its position, to each of the tokens whose bit is set; rows: [tokens][head_dim], token 0 at `position`.
// Magnitudes beyond the largest float become that.
void AddMeanAvx512(const TurnedMean& turned, uint64_t position, uint64_t tokens, float* rows);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_KEY_MEAN_ROWS_H_
