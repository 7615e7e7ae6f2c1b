// Keys with a bias that RoPE turns, by layer and head; and profiles that know it.
#ifndef POLARKV_TESTS_KERNELS_CUDA_BIASED_KEYS_H_
#define POLARKV_TESTS_KERNELS_CUDA_BIASED_KEYS_H_

#include <vector>

#include "codec/key_mean.h"
#include "codec/key_mean_profile.h"
#include "codec/rope_phase.h"
#include "tests/kernels/cuda/encode_fixture.h"

namespace polarkv::cuda {

enum class BiasShape { kAllPairs, kFewPairs };

struct Bias {
  std::vector<float> size;  // by layer, the last one for all that follow
  BiasShape shape = BiasShape::kAllPairs;
  uint32_t seed = 1;

  std::vector<float> Of(uint32_t layer, uint32_t head, uint32_t head_dim) const {
    std::mt19937 random(seed + 1000 * layer + head);
    std::normal_distribution<float> normal;
    const float factor = size[std::min<size_t>(layer, size.size() - 1)];
    std::vector<float> mean(head_dim);
    for (float& x : mean) x = factor * normal(random);
    for (uint32_t j = 0; j < head_dim && shape == BiasShape::kFewPairs; ++j) mean[j] *= j % 23 == 5 ? 1.0f : 0.0f;
    return mean;
  }
};

// Gives the case's keys the bias.
inline EncodeCase WithBias(EncodeCase c, const Bias& bias) {
  const std::vector<uint64_t> phases = RopePhases(c.rope);
  const uint32_t d = c.shape.head_dim;
  c.shape_key = [=](uint32_t layer, uint32_t head, uint32_t token, float* key) {
    float turned[kMaxHeadDim];
    TurnToPosition(c.rope, phases, c.first_position + token, bias.Of(layer, head, d).data(), d, turned);
    for (uint32_t j = 0; j < d; ++j) key[j] += turned[j];
  };
  return c;
}

// Of the case's layers and twice its heads; heads where `skip` says so have no mean.
template <class Skip>
KeyMeanProfilePtr ProfileOf(const EncodeCase& c, const Bias& bias, const Skip& skip) {
  ProfileShape shape;
  shape.layers = static_cast<uint16_t>(c.shape.layers);
  shape.kv_heads = static_cast<uint16_t>(2 * c.shape.kv_heads);
  shape.head_dim = static_cast<uint16_t>(c.shape.head_dim);
  shape.rope = c.rope;
  shape.phases = RopePhases(c.rope);
  const uint32_t record = VectorRecordBytes(shape.head_dim);
  std::vector<uint8_t> records(size_t{shape.layers} * shape.kv_heads * record);
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (uint32_t head = 0; head < shape.kv_heads; ++head) {
      // Biases are those of the block's heads.
      const std::vector<float> mean = bias.Of(layer, head - c.first_kv_head, shape.head_dim);
      if (skip(layer, head)) continue;
      WriteRecord(mean.data(), shape.head_dim, records.data() + (size_t{layer} * shape.kv_heads + head) * record);
    }
  }
  auto profile = KeyMeanProfile::Make(shape, records);
  EXPECT_TRUE(profile.ok()) << profile.status();
  return profile.ok() ? *std::move(profile) : nullptr;
}
inline bool SkipNone(uint32_t, uint32_t) { return false; }

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_BIASED_KEYS_H_
