// Keys as trained models have them: a bias added before RoPE, which RoPE then turns with the position.
#ifndef POLARKV_TESTS_CODEC_BIASED_KEYS_H_
#define POLARKV_TESTS_CODEC_BIASED_KEYS_H_

#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "codec/polar_coordinates.h"
#include "tests/codec/random_kv.h"

namespace polarkv::testing {

struct KeyBias {
  double norm = 0;
  bool on_all_pairs = false;  // else on pairs 3, 20, 40 and 60 of 64, or what is in their place with fewer
};

// Keys [tokens][head_dim] at positions from spec.first_position: N(0,I) plus the bias, whose norm is shared equally by
// its pairs and whose phases are random, then RoPE over all of head_dim. Computed in double.
inline std::vector<float> BiasedKeys(const BlockSpec& spec, KeyBias bias, uint32_t seed) {
  const uint32_t pairs = spec.head_dim / 2;
  std::mt19937 random(seed + 1);
  std::uniform_real_distribution<double> phases(0, 2 * std::numbers::pi);
  std::vector<double> bias_x(pairs), bias_y(pairs);
  for (uint32_t p = 0; p < pairs; ++p) {
    const uint32_t of64 = p * 64 / pairs;
    const bool chosen = bias.on_all_pairs || of64 == 3 || of64 == 20 || of64 == 40 || of64 == 60;
    const double size = chosen ? bias.norm / std::sqrt(bias.on_all_pairs ? pairs : 4.0) : 0, phase = phases(random);
    bias_x[p] = size * std::cos(phase);
    bias_y[p] = size * std::sin(phase);
  }
  std::vector<float> keys = Gaussian(size_t{spec.tokens} * spec.head_dim, seed);
  for (uint32_t t = 0; t < spec.tokens; ++t) {
    for (uint32_t p = 0; p < pairs; ++p) {
      const CoordinatePair pair = PairOf(spec.rope, spec.head_dim, p);
      float& a = keys[size_t{t} * spec.head_dim + pair.first];
      float& b = keys[size_t{t} * spec.head_dim + pair.second];
      const double frequency =
          spec.rope.pairing == RopePairing::kNone ? 0 : std::pow(double{spec.rope.base}, -2.0 * p / spec.head_dim);
      const double angle = static_cast<double>(spec.first_position + t) * frequency;
      const double x = a + bias_x[p], y = b + bias_y[p];
      a = static_cast<float>(x * std::cos(angle) - y * std::sin(angle));
      b = static_cast<float>(x * std::sin(angle) + y * std::cos(angle));
    }
  }
  return keys;
}

// Variance over tokens of the error of q.k, a query's mean error taken off because the softmax ignores it; mean over
// `queries` N(0,I), divided by head_dim.
inline double LogitErrorVariance(const std::vector<float>& keys, const std::vector<float>& read, uint32_t head_dim,
                                 uint32_t queries, uint32_t seed) {
  const std::vector<float> q = Gaussian(size_t{queries} * head_dim, seed);
  const size_t tokens = keys.size() / head_dim;
  double variance = 0;
  for (uint32_t i = 0; i < queries; ++i) {
    double sum = 0, square = 0;
    for (size_t t = 0; t < tokens; ++t) {
      double error = 0;
      for (uint32_t j = 0; j < head_dim; ++j) {
        error += double{q[i * head_dim + j]} * (double{read[t * head_dim + j]} - keys[t * head_dim + j]);
      }
      sum += error;
      square += error * error;
    }
    variance +=
        square / static_cast<double>(tokens) - sum / static_cast<double>(tokens) * sum / static_cast<double>(tokens);
  }
  return variance / queries / head_dim;
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_BIASED_KEYS_H_
