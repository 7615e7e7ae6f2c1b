// Seeded random tensors and the short way through the reference codec, for tests of codecs and kernels.
#ifndef POLARKV_TESTS_CODEC_RANDOM_KV_H_
#define POLARKV_TESTS_CODEC_RANDOM_KV_H_

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "codec/reference_codec.h"

namespace polarkv::testing {

// Every randomized test puts this into a SCOPED_TRACE, so that a failure names its seed.
inline std::string SeedText(uint32_t seed) { return "seed " + std::to_string(seed); }

inline std::vector<float> Gaussian(size_t count, uint32_t seed, float sigma = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> x(count);
  for (float& value : x) value = normal(generator);
  return x;
}

// K and V of one block, F32, contiguous [layers, kv_heads, tokens, head_dim].
struct Kv {
  std::vector<float> k, v;
};

inline size_t ElementCount(const BlockSpec& spec) {
  return size_t{spec.layers} * spec.kv_heads * spec.tokens * spec.head_dim;
}

inline Kv GaussianKv(const BlockSpec& spec, uint32_t seed) {
  return {Gaussian(ElementCount(spec), seed), Gaussian(ElementCount(spec), seed + 1)};
}

inline TensorView View(const BlockSpec& spec, const std::vector<float>& x) {
  return TensorView::Contiguous(x.data(), Dtype::kF32, {spec.layers, spec.kv_heads, spec.tokens, spec.head_dim});
}

inline std::vector<uint8_t> Encode(const BlockSpec& spec, const Kv& kv, const EncodeOptions& options = {}) {
  return reference::EncodeBlock(spec, View(spec, kv.k), View(spec, kv.v), options).value();
}

// Every token coded, whatever comes of it.
inline constexpr EncodeOptions kCodesAlone = {KeyMeanPolicy::kNever, 0, false};

inline BlockView Parse(const std::vector<uint8_t>& bytes) {
  return BlockView::Parse(bytes, VerifyPayload::kYes).value();
}

inline Kv Decode(const BlockView& block) {
  Kv kv{std::vector<float>(ElementCount(block.spec())), std::vector<float>(ElementCount(block.spec()))};
  const absl::Status status = reference::DecodeBlock(block, kv.k, kv.v);
  if (!status.ok()) kv = {};
  return kv;
}

inline BlockSpec OneHead(CodecPair codec, uint32_t head_dim, uint32_t tokens) {
  BlockSpec spec;
  spec.layers = 1;
  spec.kv_heads = 1;
  spec.head_dim = static_cast<uint16_t>(head_dim);
  spec.tokens = tokens;
  spec.codec = codec;
  spec.source_dtype = Dtype::kF32;
  return spec;
}

inline double Dot(const float* a, const float* b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += double{a[i]} * b[i];
  return sum;
}

// |a - b|^2 / |a|^2
inline double RelativeSquaredError(const float* a, const float* b, size_t count) {
  double error = 0;
  for (size_t i = 0; i < count; ++i) error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return error / Dot(a, a, count);
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_RANDOM_KV_H_
