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
#include "tests/codec/codec_cases.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/attention_problem.h"
#include "tests/kernels/instruction_sets.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace polarkv {
namespace {

using cpu::InstructionSet;
using testing::Compute;
using testing::Encode;
using testing::ExpectClose;
using testing::Gaussian;
using testing::GaussianProblem;
using testing::kFastSets;
using testing::Kv;
using testing::Parse;
using testing::Problem;
using testing::Result;
using testing::Spec;
using testing::tested;

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
                                                              "k=trellis3,v=trellis2", "k=turbo5,v=turbo1", "turbo4",
                                                              "k=turbo2,v=turbo3", "k=qjl1,v=turbo2", "k=qjl4,v=trellis1",
                                                              "k=turbo1q,v=turbo2", "k=turbo4q,v=turbo4"),
                                            ::testing::Values(64u, 80u, 96u, 128u, 192u, 256u), ::testing::Values(150u)));

INSTANTIATE_TEST_SUITE_P(Matrices, CpuAttentionShapes,
                         ::testing::Combine(::testing::Values(InstructionSet::kAvx512),
                                            ::testing::Values("fp16", "polarR", "polar44", "polar53", "polar35",
                                                              "k=turbo3,v=fp16", "k=polar44,v=turbo4", "k=fp16,v=trellis2"),
                                            ::testing::Values(64u, 80u, 96u, 128u, 192u, 256u), ::testing::Values(150u)));
// Slow to encode.
INSTANTIATE_TEST_SUITE_P(Deep, CpuAttentionShapes,
                         ::testing::Combine(::testing::Values(InstructionSet::kAvx512),
                                            ::testing::Values("k=deep1.5,v=deep2", "k=deep2,v=deep1.5", "k=deep2.5,v=deep3",
                                                              "k=deep3,v=deep2.5", "k=qjl2,v=deep2"),
                                            ::testing::Values(64u, 96u), ::testing::Values(70u)));

INSTANTIATE_TEST_SUITE_P(Sets, CpuAttention, ::testing::ValuesIn(kFastSets), testing::InstructionSetParamName);

// Rows are worked on in eights, the rest in fewer.
TEST_P(CpuAttention, AnyNumberOfRows) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (uint32_t rows : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 19u, 37u}) {
    SCOPED_TRACE(rows);
    ExpectClose(GaussianProblem(Spec({CodecId::kTurbo4, CodecId::kTurbo3}, 96, 140, 1), 2, 1, rows, seed_ + rows));
  }
}

TEST_P(CpuAttention, KeyMeansAndEscapes) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (const uint64_t first_position : {uint64_t{0}, uint64_t{100000}}) {
      const uint32_t d = pairing == RopePairing::kInterleaved ? 80 : 128;
      BlockSpec spec = Spec({CodecId::kTurbo4, CodecId::kTurbo3}, d, 700, 2);
      if (pairing != RopePairing::kNone) spec.rope = {pairing, 10000.0f, static_cast<uint16_t>(d - 32)};
      spec.first_position = first_position;
      Kv kv = testing::GaussianKv(spec, seed_);
      const std::vector<float> mean = Gaussian(d, seed_ + 1, 2);
      for (size_t t = 0; t < kv.k.size() / d; ++t) {
        float turned[kMaxHeadDim];
        TurnToPosition(spec.rope, RopePhases(spec.rope), first_position + t % 700, mean.data(), d, turned);
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
    // Logits of 64 rows of tiles; 64 pointers to blocks are less.
    EXPECT_LE(testing::LargestAllocation(), 64 * kTileTokens * sizeof(float)) << blocks;
  }
}

// Whoever attends, a body or the reference.
TEST_P(CpuAttention, AllocatesNothingForATokenOrATile) {
  std::vector<CodecPair> codecs = {{CodecId::kTurbo3Qjl, CodecId::kFp16}, {CodecId::kQjl2, CodecId::kFp16},
                                   {CodecId::kFp16, CodecId::kTrellis2}};
  for (const CodecId id : testing::AllCodecsVector()) codecs.push_back(testing::ForBothSides(id));
  EncodeOptions options;
  options.key_mean = KeyMeanPolicy::kAlways;
  options.bands = BandPolicy::kAlways;
  for (const CodecPair codec : codecs) {
    // Tokens of deep codes take long to write.
    const bool slow = TraitsOf(codec.k).kind == CodecKind::kDeep || codec.k == CodecId::kBand2_5;
    size_t counts[2];
    for (const uint32_t tiles : {2u, slow ? 3u : 5u}) {
      const BlockSpec spec = Spec(codec, 64, tiles * kTileTokens, 1);
      const std::vector<uint8_t> bytes = Encode(spec, testing::GaussianKv(spec, seed_), options);
      const BlockView block = Parse(bytes);
      const std::vector<float> q = Gaussian(3 * 64, seed_ + 5);
      std::vector<float> o(q.size()), lse(3);
      testing::ForgetAllocations();
      ASSERT_EQ(cpu::Attend({&block, 1}, 0, 3, 1, q, .125f, o, lse, tested), absl::OkStatus());
      counts[tiles == 2 ? 0 : 1] = testing::AllocationCount();
    }
    EXPECT_EQ(counts[0], counts[1]) << CodecPairName(codec);
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
  for (const auto& [codec, head_dim] : {std::pair("turbo4", 80u), {"turbo4", 96u}, {"turbo4", 128u}, {"turbo5", 96u},
                                        {"k=turbo3,v=turbo5", 64u}, {"k=turbo4q,v=turbo2", 128u}}) {
    Problem p = GaussianProblem(Spec(ParseCodecPair(codec).value(), head_dim, 100, 1), 1, 5, 1, seed_);
    const BlockLayout layout = p.blocks[0].layout();
    for (const PlaneMask planes : {0x01u, 0x03u, 0x05u, 0x07u, 0x0Fu, 0x17u, 0x0Bu, 0x21u, 0x2Bu}) {
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
