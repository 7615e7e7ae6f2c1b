// The fast CPU attention against the scalar reference, on fresh random and adversarial blocks.
#include "kernels/cpu/cpu_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <tuple>

#include "codec/codec_id.h"
#include "codec/reference_codec.h"
#include "codec/rope_phase.h"
#include "kernels/cpu/turbo_head.h"
#include "tests/codec/allocation_watch.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/instruction_sets.h"
#include "tests/kernels/rounded_attention.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace polarkv {
namespace {

using cpu::InstructionSet;
using testing::Decode;
using testing::Encode;
using testing::Gaussian;
using testing::Kv;
using testing::Parse;

// The int8 query errs by at most half a step of largest/127 in each rotated coordinate, uniformly and independently; a
// logit then by sigma = step/sqrt(12) * |k|. Six sigma hold for every token of these tests.
constexpr double kLogitSigmas = 6;
// A weight is rounded by at most half of 1/255 of its tile's largest.
constexpr double kWeightRounding = 0.5 / 255;
// fp32 sums and the polynomial for 2^x.
constexpr double kFloatSlack = 2e-5;

// Those that have bodies of their own; and the one that the test at hand is about.
const auto kFastSets = [] {
  auto sets = std::vector(cpu::kInstructionSets.begin(), cpu::kInstructionSets.end());
  std::erase(sets, InstructionSet::kScalar);
  return sets;
}();
InstructionSet tested;

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

Result Compute(const Problem& p, InstructionSet set) {
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

Bound BoundRow(const Problem& p, size_t row, const Result& exact) {
  const BlockSpec& first = p.blocks[0].spec();
  const uint32_t d = first.head_dim;
  const uint32_t kv_head = static_cast<uint32_t>(row / p.queries / (p.q_heads / first.kv_heads));
  const float* q = &p.q[row * d];
  const double largest = std::sqrt(testing::Dot(q, q, d));  // of a rotated coordinate, at most
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
        const double norm = std::sqrt(testing::Dot(k + t * d, k + t * d, d));
        bound.logit = std::max(bound.logit, kLogitSigmas / std::sqrt(12.0) * largest / 127 * norm * p.scale);
        top = std::max(top, std::exp(p.scale * testing::Dot(q, k + t * d, d) - exact.lse[row]) *
                                std::sqrt(testing::Dot(v + t * d, v + t * d, d)));
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
void ExpectRounded(const Problem& p) {
  const Result fast = Compute(p, tested);
  const BlockSpec& spec = p.blocks[0].spec();
  double largest_value = 0;
  for (const BlockView& block : p.blocks) {
    for (float x : Decode(block).v) largest_value = std::max(largest_value, std::fabs(double{x}));
  }
  for (size_t row = 0; row < p.rows(); ++row) {
    const uint32_t kv_head = static_cast<uint32_t>(row / p.queries / (p.q_heads / spec.kv_heads));
    const testing::RoundedAttention model(p.blocks, kv_head, &p.q[row * spec.head_dim], p.scale);
    ASSERT_NEAR(fast.lse[row], model.lse, kFloatSlack * (1 + std::fabs(model.lse))) << "row " << row;
    for (uint32_t j = 0; j < spec.head_dim; ++j) {
      ASSERT_NEAR(fast.o[row * spec.head_dim + j], model.o[j], kFloatSlack * largest_value + model.either_way)
          << "row " << row << ", dim " << j;
    }
  }
}

void ExpectClose(const Problem& p) {
  const auto is_fast = [](const BlockView& block) { return cpu::HasTurboBody(block, 0, tested); };
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

BlockSpec Spec(CodecPair codec, uint32_t head_dim, uint32_t tokens, uint32_t kv_heads) {
  BlockSpec spec = testing::OneHead(codec, head_dim, tokens);
  spec.kv_heads = static_cast<uint16_t>(kv_heads);
  return spec;
}

Problem GaussianProblem(const BlockSpec& spec, uint32_t block_count, uint32_t group, uint32_t queries, uint32_t seed) {
  Problem p;
  p.q_heads = group * spec.kv_heads;
  p.queries = queries;
  p.scale = 1 / std::sqrt(static_cast<float>(spec.head_dim));
  p.q = Gaussian(p.rows() * spec.head_dim, seed);
  for (uint32_t b = 0; b < block_count; ++b) p.bytes.push_back(Encode(spec, testing::GaussianKv(spec, seed + 10 + 2 * b)));
  for (const auto& bytes : p.bytes) p.blocks.push_back(Parse(bytes));
  return p;
}

class CpuAttention : public ::testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    tested = GetParam();
    POLARKV_SKIP_WITHOUT(tested);
  }
  const uint32_t seed_ = std::random_device{}();
};

using Shape = std::tuple<InstructionSet, const char*, uint32_t, uint32_t>;  // and codec, head_dim, tokens

class CpuAttentionShapes : public ::testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    tested = std::get<0>(GetParam());
    POLARKV_SKIP_WITHOUT(tested);
  }
  const uint32_t seed_ = std::random_device{}();
};

TEST_P(CpuAttentionShapes, AgreesWithTheReference) {
  SCOPED_TRACE(testing::SeedText(seed_));
  const auto [set, codec, head_dim, tokens] = GetParam();
  ExpectClose(GaussianProblem(Spec(ParseCodecPair(codec).value(), head_dim, tokens, 2), 2, 3, 2, seed_));
}

INSTANTIATE_TEST_SUITE_P(Lengths, CpuAttentionShapes,
                         ::testing::Combine(::testing::ValuesIn(kFastSets),
                                            ::testing::Values("turbo4", "turbo3", "k=turbo4,v=turbo2", "k=trellis3,v=trellis1"),
                                            ::testing::Values(64u, 80u, 128u),
                                            ::testing::Values(1u, 63u, 64u, 65u, 200u)));
INSTANTIATE_TEST_SUITE_P(Codecs, CpuAttentionShapes,
                         ::testing::Combine(::testing::ValuesIn(kFastSets),
                                            ::testing::Values("turbo1", "turbo2", "turbo5", "trellis1", "trellis2", "trellis3",
                                                              "k=trellis3,v=trellis2", "k=turbo5,v=turbo1",
                                                              "k=turbo2,v=turbo3"),
                                            ::testing::Values(64u, 80u, 96u, 128u, 192u, 256u), ::testing::Values(150u)));

INSTANTIATE_TEST_SUITE_P(Sets, CpuAttention, ::testing::ValuesIn(kFastSets), testing::InstructionSetParamName);

// Rows are worked on in eights, the rest in fewer.
TEST_P(CpuAttention, AnyNumberOfRows) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (uint32_t rows : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 19u, 37u}) {
    SCOPED_TRACE(rows);
    ExpectClose(GaussianProblem(Spec({CodecId::kTrellis3, CodecId::kTurbo3}, 96, 140, 1), 2, 1, rows, seed_ + rows));
  }
}

TEST_P(CpuAttention, KeyMeansAndEscapes) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (const uint64_t first_position : {uint64_t{0}, uint64_t{100000}}) {
      const uint32_t d = pairing == RopePairing::kInterleaved ? 80 : 128;
      BlockSpec spec = Spec({CodecId::kTurbo4, CodecId::kTurbo3}, d, 300, 2);
      if (pairing != RopePairing::kNone) spec.rope = {pairing, 10000.0f, static_cast<uint16_t>(d - 32)};
      spec.first_position = first_position;
      Kv kv = testing::GaussianKv(spec, seed_);
      const std::vector<float> mean = Gaussian(d, seed_ + 1, 2);
      for (size_t t = 0; t < kv.k.size() / d; ++t) {
        float turned[kMaxHeadDim];
        TurnToPosition(spec.rope, RopePhases(spec.rope), first_position + t % 300, mean.data(), d, turned);
        for (uint32_t j = 0; j < d; ++j) kv.k[d * t + j] += t % 7 == 0 ? 0 : turned[j];
        if (t % 50 == 3) kv.v[d * t + t % d] = 200;
        if (t % 50 == 4) kv.k[d * t + t % d] = 40;
      }
      Problem p;
      p.q_heads = 6;
      p.queries = 2;
      p.q = Gaussian(12 * d, seed_ + 5);
      p.scale = 1 / std::sqrt(static_cast<float>(d));
      p.bytes = {Encode(spec, kv)};
      p.blocks = {Parse(p.bytes[0])};
      ASSERT_TRUE(p.blocks[0].layout().layer(0).key_mean);
      ASSERT_EQ(p.blocks[0].layout().layer(0).escapes >= 16, first_position == 0);
      ExpectClose(p);
    }
  }
}

TEST_P(CpuAttention, ScratchMemoryDoesNotGrowWithTheContext) {
  const BlockSpec spec = Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 128, 256, 1);
  Problem p = GaussianProblem(spec, 1, 8, 1, seed_);
  for (const size_t blocks : {size_t{1}, size_t{64}}) {
    p.blocks.assign(blocks, p.blocks[0]);
    std::vector<float> o(p.q.size()), lse(p.rows());
    testing::ForgetAllocations();
    ASSERT_EQ(cpu::Attend(p.blocks, 0, p.q_heads, p.queries, p.q, p.scale, o, lse, tested),
              absl::OkStatus());
    // Rotated outputs of 8 rows; 64 pointers to blocks are less.
    EXPECT_LE(testing::LargestAllocation(), 8 * 2 * 128 * sizeof(float)) << blocks;
  }
}

#if defined(__x86_64__)
TEST_P(CpuAttention, TheCallersFloatingPointEnvironmentDoesNotMatter) {
  SCOPED_TRACE(testing::SeedText(seed_));
  const Problem p = GaussianProblem(Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 128, 200, 1), 1, 2, 1, seed_);
  const Result usual = Compute(p, tested);
  const unsigned saved = _mm_getcsr();
  constexpr unsigned kFlushAndRoundUp = 0x1F80 | 0x8040 | 0x4000;
  _mm_setcsr(kFlushAndRoundUp);
  const Result unusual = Compute(p, tested);
  const unsigned after = _mm_getcsr();
  _mm_setcsr(saved);
  EXPECT_EQ(after & 0xFFC0u, kFlushAndRoundUp);
  EXPECT_EQ(usual.o, unusual.o);
  EXPECT_EQ(usual.lse, unusual.lse);
}
#endif

TEST_P(CpuAttention, ANegativeScale) {
  SCOPED_TRACE(testing::SeedText(seed_));
  Problem p = GaussianProblem(Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 64, 70, 2), 1, 2, 2, seed_);
  const Result positive = Compute(p, tested);
  p.scale = -p.scale;
  for (float& x : p.q) x = -x;
  const Result negative = Compute(p, tested);
  EXPECT_EQ(positive.o, negative.o);
  EXPECT_EQ(positive.lse, negative.lse);
}

TEST_P(CpuAttention, FewerPlanesAgree) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const char* codec : {"turbo4", "turbo5", "k=turbo3,v=turbo5"}) {
    Problem p = GaussianProblem(Spec(ParseCodecPair(codec).value(), 96, 100, 1), 1, 5, 1, seed_);
    const BlockLayout layout = p.blocks[0].layout();
    for (const PlaneMask planes : {0x01u, 0x03u, 0x05u, 0x07u, 0x0Fu, 0x17u, 0x0Bu}) {
      std::vector<uint8_t> selected;
      const BlockSelection selection{0, 0, planes};
      const std::vector<ByteRange> ranges = SelectionRanges(layout, selection).value();
      for (const ByteRange& range : ranges) {
        selected.insert(selected.end(), p.bytes[0].begin() + range.offset, p.bytes[0].begin() + range.offset + range.length);
      }
      Problem part = p;
      part.bytes = {selected};
      part.blocks = {BlockView::ParseSelection(part.bytes[0], selection, VerifyPayload::kYes).value()};
      SCOPED_TRACE(planes);
      ExpectClose(part);
    }
  }
}

TEST_P(CpuAttention, MixesBlocksWithAndWithoutAFastBody) {
  SCOPED_TRACE(testing::SeedText(seed_));
  Problem p = GaussianProblem(Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 64, 70, 2), 2, 2, 1, seed_);
  for (const char* codec : {"fp16", "polar44", "turbo2", "k=polar44,v=turbo3"}) {
    const BlockSpec spec = Spec(ParseCodecPair(codec).value(), 64, 65, 2);
    p.bytes.push_back(Encode(spec, testing::GaussianKv(spec, seed_ + 77)));
  }
  BlockSpec other_rotation = Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 64, 64, 2);
  other_rotation.rotation_seed = 42;
  p.bytes.push_back(Encode(other_rotation, testing::GaussianKv(other_rotation, seed_ + 99)));
  p.blocks.clear();
  for (const auto& bytes : p.bytes) p.blocks.push_back(Parse(bytes));
  ExpectClose(p);
}

TEST_P(CpuAttention, RotationsOfItsBlocksMayDiffer) {
  SCOPED_TRACE(testing::SeedText(seed_));
  Problem p = GaussianProblem(Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 64, 70, 2), 1, 2, 1, seed_);
  BlockSpec other = Spec({CodecId::kTurbo3, CodecId::kTurbo4}, 64, 80, 2);
  other.rotation_seed = 42;
  p.bytes.push_back(Encode(other, testing::GaussianKv(other, seed_ + 99)));
  p.bytes.push_back(p.bytes[0]);
  p.blocks.clear();
  for (const auto& bytes : p.bytes) p.blocks.push_back(Parse(bytes));
  ExpectClose(p);
}

TEST_P(CpuAttention, NoQueriesAreNoWork) {
  const Problem p = GaussianProblem(Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 64, 70, 2), 1, 2, 0, seed_);
  const Result none = Compute(p, tested);
  EXPECT_TRUE(none.o.empty());
  EXPECT_TRUE(none.lse.empty());
}

TEST_P(CpuAttention, LaterLargerLogitsTakeOver) {
  SCOPED_TRACE(testing::SeedText(seed_));
  // Keys grow along the sequence, so that nearly every tile brings a new maximum.
  const BlockSpec spec = Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 128, 512, 1);
  Kv kv = testing::GaussianKv(spec, seed_);
  const std::vector<float> q = Gaussian(128, seed_ + 5);
  for (uint32_t t = 0; t < spec.tokens; ++t) {
    for (uint32_t j = 0; j < 128; ++j) kv.k[t * 128 + j] = 0.1f * kv.k[t * 128 + j] + q[j] * 0.0002f * static_cast<float>(t);
  }
  Problem p;
  p.scale = 1 / std::sqrt(128.0f);
  p.q = q;
  p.bytes = {Encode(spec, kv)};
  p.blocks = {Parse(p.bytes[0])};
  ExpectClose(p);
}

TEST_P(CpuAttention, ZeroKeysValuesAndQueries) {
  const BlockSpec spec = Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 128, 65, 1);
  const size_t n = testing::ElementCount(spec);
  const auto all_zero = [&](Kv kv, std::vector<float> q) {
    Problem p;
    p.q = std::move(q);
    p.bytes = {Encode(spec, kv)};
    p.blocks = {Parse(p.bytes[0])};
    return Compute(p, tested);
  };
  const Result zero_values = all_zero({Gaussian(n, 1), std::vector<float>(n, 0.0f)}, Gaussian(128, 2));
  for (float x : zero_values.o) EXPECT_EQ(x, 0);
  const Result zero_query = all_zero({Gaussian(n, 1), Gaussian(n, 2)}, std::vector<float>(128, 0.0f));
  EXPECT_NEAR(zero_query.lse[0], std::log(65.0), 1e-5);
  const Result zero_keys = all_zero({std::vector<float>(n, 0.0f), Gaussian(n, 2)}, Gaussian(128, 3));
  EXPECT_NEAR(zero_keys.lse[0], std::log(65.0), 1e-5);
}

TEST_P(CpuAttention, MagnitudesThatFp32CannotHoldFallBackToTheReference) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const float magnitude : {1e-30f, 1e-12f, 1e12f, 1e30f}) {
    const BlockSpec spec = Spec({CodecId::kTurbo4, CodecId::kTurbo4}, 64, 80, 1);
    Kv kv = testing::GaussianKv(spec, seed_);
    for (float& x : kv.k) x *= magnitude;
    for (float& x : kv.v) x *= magnitude;
    Problem p;
    p.q = Gaussian(64, seed_ + 3, 1e20f);
    p.scale = 0.125f;
    p.bytes = {Encode(spec, kv)};
    p.blocks = {Parse(p.bytes[0])};
    const Result exact = Compute(p, InstructionSet::kScalar);
    const Result fast = Compute(p, tested);
    for (float x : fast.o) EXPECT_TRUE(std::isfinite(x)) << magnitude;
    EXPECT_NEAR(fast.lse[0] / exact.lse[0], 1, 0.02) << magnitude;
    if (magnitude == 1e30f) {  // logits near 1e50
      EXPECT_EQ(fast.o, exact.o);
      EXPECT_EQ(fast.lse, exact.lse);
    }
  }
}

}  // namespace
}  // namespace polarkv
