// Keys with a bias that RoPE has turned, blocks that are coded without it, and what attention may err by on them.
#ifndef POLARKV_TESTS_KERNELS_CUDA_KEY_MEAN_CASE_H_
#define POLARKV_TESTS_KERNELS_CUDA_KEY_MEAN_CASE_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "codec/key_mean.h"
#include "codec/key_mean_profile.h"
#include "codec/rope_phase.h"
#include "tests/codec/random_kv.h"

namespace polarkv::cuda {

enum class MeansIn { kNothing, kBlocks, kEverySecondBlock, kProfile };

struct KeyMeanShape {
  MeansIn in = MeansIn::kNothing;
  double norm = 0;        // of the bias
  bool all_pairs = true;  // else four of them
  Rope rope{RopePairing::kHalf, 10000.0f, 64};
  uint64_t first_position = 0;
  bool on_every_token = true;  // else every seventh has no bias, and some have a value that is stored raw
};

// A bias; its pairs' directions are random.
inline std::vector<float> RandomBias(const KeyMeanShape& shape, uint32_t head_dim, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<float> bias(head_dim);
  for (uint32_t p = 0; p < head_dim / 2; ++p) {
    const CoordinatePair pair = PairOf(shape.rope, head_dim, p);
    const double x = normal(random), y = normal(random);
    if (!shape.all_pairs && p % (head_dim / 8) != 3) continue;
    bias[pair.first] = static_cast<float>(x);
    bias[pair.second] = static_cast<float>(y);
  }
  const double length = std::sqrt(testing::Dot(bias.data(), bias.data(), head_dim));
  for (float& x : bias) x = static_cast<float>(x * shape.norm / length);
  return bias;
}

// N(0,1) times `magnitude`, and on keys the bias of each layer and head.
inline testing::Kv BiasedKv(const KeyMeanShape& shape, const BlockSpec& spec, float magnitude, uint32_t seed,
                            uint32_t bias_seed) {
  testing::Kv kv = testing::GaussianKv(spec, seed);
  for (float& x : kv.k) x *= magnitude;
  for (float& x : kv.v) x *= magnitude;
  if (shape.norm == 0) return kv;
  const std::vector<uint64_t> phases = RopePhases(spec.rope);
  const uint32_t d = spec.head_dim;
  for (uint32_t head = 0; head < spec.layers * uint32_t{spec.kv_heads}; ++head) {
    const std::vector<float> bias = RandomBias(shape, d, bias_seed + head);
    for (uint32_t token = 0; token < spec.tokens; ++token) {
      const size_t row = (size_t{head} * spec.tokens + token) * d;
      if (!shape.on_every_token && token % 23 == 5) kv.v[row + 7] += 1e5f * magnitude;
      if (!shape.on_every_token && token % 7 == 3) continue;
      float turned[kMaxHeadDim];
      TurnToPosition(spec.rope, phases, spec.first_position + token, bias.data(), d, turned);
      for (uint32_t j = 0; j < d; ++j) kv.k[row + j] += magnitude * turned[j];
    }
  }
  return kv;
}

// Of a model with a head more, before those of the blocks.
inline KeyMeanProfilePtr ProfileOfBiases(const KeyMeanShape& shape, const BlockSpec& spec, float magnitude,
                                         uint32_t bias_seed) {
  ProfileShape model{spec.layers, static_cast<uint16_t>(spec.kv_heads + 1), spec.head_dim, spec.rope,
                     RopePhases(spec.rope)};
  const size_t bytes = VectorRecordBytes(spec.head_dim);
  std::vector<uint8_t> records(bytes * model.layers * model.kv_heads);
  for (uint32_t head = 0; head < spec.layers * uint32_t{spec.kv_heads}; ++head) {
    std::vector<float> bias = RandomBias(shape, spec.head_dim, bias_seed + head);
    for (float& x : bias) x *= magnitude;
    const size_t of_model = head / spec.kv_heads * model.kv_heads + head % spec.kv_heads + 1;
    WriteRecord(bias.data(), spec.head_dim, records.data() + of_model * bytes);
  }
  return KeyMeanProfile::Make(model, records).value();
}

// Tokens of the layer whose value alone is stored raw, and whose key lacks the mean.
inline int RawValuesWithMean(const BlockView& block, uint32_t layer) {
  int count = 0;
  for (uint32_t tile = 0; tile < block.spec().tiles(); ++tile) {
    TileHead head;
    std::memcpy(&head, block.Tile(layer, PlaneKind::kBase, 0, tile).data(), sizeof head);
    count += std::popcount(head.v_escapes & head.k_mean & ~head.k_escapes);
  }
  return count;
}

// How far a logit may be off for its mean, in natural units of <q, k>: .4 of what roundings could add up to at worst
// (kernels/cuda/README.md), which random ones do not come near.
inline double MeanLogitError(const BlockView& block, uint32_t layer, uint32_t head, const float* q) {
  const uint32_t d = block.spec().head_dim;
  const auto mean = ReadRecord(block.KeyMean(layer, head));
  double largest_q = 0, largest_mean = 0, products = 0;
  uint32_t pairs = 0;
  for (uint32_t p = 0; p < d / 2; ++p) {
    const CoordinatePair pair = PairOf(block.spec().rope, d, p);
    const double a = mean[pair.first], b = mean[pair.second], qa = q[pair.first], qb = q[pair.second];
    largest_mean = std::max({largest_mean, std::fabs(a), std::fabs(b)});
    largest_q = std::max({largest_q, std::fabs(qa), std::fabs(qb)});
    products += std::hypot(a, b) * std::hypot(qa, qb);
    pairs += a != 0 || b != 0 ? 1 : 0;
  }
  return .4 * (1.7e-6 * pairs * largest_q * largest_mean + 8e-7 * products);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_KEY_MEAN_CASE_H_
