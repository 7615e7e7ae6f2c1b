// Problems for the fast CPU attention, and what it may differ by: from the scalar reference, and from its own arithmetic in double.
#ifndef POLARKV_TESTS_KERNELS_ATTENTION_PROBLEM_H_
#define POLARKV_TESTS_KERNELS_ATTENTION_PROBLEM_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "codec/codec_id.h"
#include "kernels/cpu/cpu_attention.h"
#include "kernels/cpu/turbo_head.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/rounded_attention.h"

namespace polarkv::testing {

using cpu::InstructionSet;

// The int8 query errs by at most half a step of largest/127 in each rotated coordinate, uniformly and independently; a
// logit then by sigma = step/sqrt(12) * |k|. Six sigma hold for every token of these tests.
inline constexpr double kLogitSigmas = 6;
// A weight is rounded by at most half of 1/255 of its tile's largest.
inline constexpr double kWeightRounding = 0.5 / 255;
// fp32 sums and the polynomial for 2^x.
inline constexpr double kFloatSlack = 2e-5;

// Those that have bodies of their own; and the one that the test at hand is about.
inline const auto kFastSets = [] {
  auto sets = std::vector(cpu::kInstructionSets.begin(), cpu::kInstructionSets.end());
  std::erase(sets, InstructionSet::kScalar);
  return sets;
}();
inline InstructionSet tested;

struct Problem {
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<BlockView> blocks;
  uint32_t q_heads = 1, queries = 1;
  std::vector<float> q;
  float scale = 1;

  size_t rows() const { return size_t{q_heads} * queries; }
};

struct Result {
  std::vector<float> o, lse;
};

inline Result Compute(const Problem& p, InstructionSet set) {
  const uint32_t head_dim = p.blocks[0].spec().head_dim;
  Result r{std::vector<float>(p.rows() * head_dim, NAN), std::vector<float>(p.rows(), NAN)};
  EXPECT_EQ(cpu::Attend(p.blocks, 0, p.q_heads, p.queries, p.q, p.scale, r.o, r.lse, set), absl::OkStatus());
  return r;
}

// The error allowed in the logits of one row, and in each coordinate of its output; from decoded keys and values.
struct Bound {
  double logit = 0;
  std::vector<double> output;
};

inline Bound BoundRow(const Problem& p, size_t row, const Result& exact) {
  const BlockSpec& first = p.blocks[0].spec();
  const uint32_t d = first.head_dim;
  const uint32_t kv_head = static_cast<uint32_t>(row / p.queries / (p.q_heads / first.kv_heads));
  const float* q = &p.q[row * d];
  const double largest = std::sqrt(Dot(q, q, d));  // of a rotated coordinate, at most
  Bound bound{0, std::vector<double>(d, 0)};
  for (const BlockView& block : p.blocks) {
    const BlockSpec& spec = block.spec();
    const Kv kv = Decode(block);
    const float* k = &kv.k[size_t{kv_head} * spec.tokens * d];
    const float* v = &kv.v[size_t{kv_head} * spec.tokens * d];
    for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
      const uint32_t begin = tile * kTileTokens, end = std::min(spec.tokens, begin + kTileTokens);
      double top = 0;
      for (uint32_t t = begin; t < end; ++t) {
        const double norm = std::sqrt(Dot(k + t * d, k + t * d, d));
        bound.logit = std::max(bound.logit, kLogitSigmas / std::sqrt(12.0) * largest / 127 * norm * p.scale);
        top = std::max(top, std::exp(p.scale * Dot(q, k + t * d, d) - exact.lse[row]) *
                                std::sqrt(Dot(v + t * d, v + t * d, d)));
      }
      // Each of the tile's weights (probability times value norm) is off by up to kWeightRounding * top; the values'
      // rotated directions have norm one, so a coordinate changes by at most that for every token.
      for (double& o : bound.output) o += kWeightRounding * top * (end - begin);
    }
  }
  double largest_value = 0;
  for (const BlockView& block : p.blocks) {
    for (float x : Decode(block).v) largest_value = std::max(largest_value, std::fabs(double{x}));
  }
  for (double& o : bound.output) o += std::expm1(2 * bound.logit) * largest_value + kFloatSlack * largest_value;
  return bound;
}

// The fast body against its own arithmetic in double: what is allowed is fp32's and no more, so that a code, a scale or a
// weight in a wrong place shows, which the roundings' bounds would hide.
inline void ExpectRounded(const Problem& p) {
  const Result fast = Compute(p, tested);
  const BlockSpec& spec = p.blocks[0].spec();
  double largest_value = 0;
  for (const BlockView& block : p.blocks) {
    for (float x : Decode(block).v) largest_value = std::max(largest_value, std::fabs(double{x}));
  }
  for (size_t row = 0; row < p.rows(); ++row) {
    const uint32_t kv_head = static_cast<uint32_t>(row / p.queries / (p.q_heads / spec.kv_heads));
    const RoundedAttention model(p.blocks, kv_head, &p.q[row * spec.head_dim], p.scale);
    ASSERT_NEAR(fast.lse[row], model.lse, kFloatSlack * (1 + std::fabs(model.lse))) << "row " << row;
    for (uint32_t j = 0; j < spec.head_dim; ++j) {
      ASSERT_NEAR(fast.o[row * spec.head_dim + j], model.o[j], kFloatSlack * largest_value + model.either_way)
          << "row " << row << ", dim " << j;
    }
  }
}

inline void ExpectClose(const Problem& p) {
  // The model knows turbo and trellis codes.
  const auto has_codes = [](CodecId id) { return TraitsOf(id).kind == CodecKind::kTurbo || TraitsOf(id).kind == CodecKind::kTrellis; };
  const auto is_fast = [&](const BlockView& block) {
    return cpu::HasTurboBody(block, 0, tested) && has_codes(block.spec().codec.k) && has_codes(block.spec().codec.v);
  };
  if (std::all_of(p.blocks.begin(), p.blocks.end(), is_fast)) ExpectRounded(p);
  const Result exact = Compute(p, InstructionSet::kScalar);
  const Result fast = Compute(p, tested);
  const uint32_t d = p.blocks[0].spec().head_dim;
  for (size_t row = 0; row < p.rows(); ++row) {
    const Bound bound = BoundRow(p, row, exact);
    ASSERT_NEAR(fast.lse[row], exact.lse[row], bound.logit + kFloatSlack * (1 + std::fabs(exact.lse[row]))) << "row " << row;
    for (uint32_t j = 0; j < d; ++j) {
      ASSERT_NEAR(fast.o[row * d + j], exact.o[row * d + j], bound.output[j]) << "row " << row << ", dim " << j;
    }
  }
}

inline BlockSpec Spec(CodecPair codec, uint32_t head_dim, uint32_t tokens, uint32_t kv_heads) {
  BlockSpec spec = OneHead(codec, head_dim, tokens);
  spec.kv_heads = static_cast<uint16_t>(kv_heads);
  return spec;
}

inline Problem GaussianProblem(const BlockSpec& spec, uint32_t block_count, uint32_t group, uint32_t queries, uint32_t seed) {
  Problem p;
  p.q_heads = group * spec.kv_heads;
  p.queries = queries;
  p.scale = 1 / std::sqrt(static_cast<float>(spec.head_dim));
  p.q = Gaussian(p.rows() * spec.head_dim, seed);
  for (uint32_t b = 0; b < block_count; ++b) p.bytes.push_back(Encode(spec, GaussianKv(spec, seed + 10 + 2 * b)));
  for (const auto& bytes : p.bytes) p.blocks.push_back(Parse(bytes));
  return p;
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_ATTENTION_PROBLEM_H_
