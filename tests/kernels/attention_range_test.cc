// Attention at magnitudes where fp32 ends: the fast bodies are as near to the reference as ever, or hand over to it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "codec/codec_id.h"
#include "codec/reference_codec.h"
#include "kernels/cpu/cpu_attention.h"
#include "kernels/cpu/turbo_head.h"
#include "tests/codec/codec_cases.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/attention_interval.h"
#include "tests/kernels/attention_problem.h"
#include "tests/kernels/instruction_sets.h"

#if defined(__x86_64__)
#include "kernels/cpu/amx_attention.h"
#endif

namespace polarkv {
namespace {

using cpu::InstructionSet;
using testing::Gaussian;
using testing::Kv;
using testing::Problem;
using testing::Result;

// A set's bodies as calls take them; for AMX also its body on emulated tiles, whose results are to be handed over if they
// are not finite.
class AttentionRange : public ::testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override { POLARKV_SKIP_WITHOUT(GetParam()); }

  static void ExpectHeld(const Problem& p) {
    const Result result = testing::Compute(p, GetParam());
    const uint32_t d = p.blocks[0].spec().head_dim;
    const testing::AttentionInterval interval(p.blocks, 0, 0);
    for (size_t row = 0; row < p.rows(); ++row) {
      const auto bounds = interval.BoundsOf(&p.q[row * d], p.scale);
      ASSERT_EQ(interval.Defect(bounds, result.lse[row], &result.o[row * d]), "") << "row " << row;
    }
#if defined(__x86_64__)
    const CodecPair codec = p.blocks[0].spec().codec;
    const auto has_codes = [](CodecId id) { return HasTurboCodes(id) || IsTrellis(id); };
    if (GetParam() != InstructionSet::kAvx512 || d % 64 != 0 || !has_codes(codec.k) || !has_codes(codec.v)) return;
    const auto rows = static_cast<uint32_t>(p.rows());
    cpu::TurboHead head(d, p.blocks[0].spec().rotation_seed, rows, cpu::TurboAttendEmulatedAmx);
    Result emulated{std::vector<float>(p.q.size()), std::vector<float>(rows)};
    std::vector<const BlockView*> blocks;
    for (const BlockView& block : p.blocks) blocks.push_back(&block);
    head.Attend(blocks, 0, 0, p.q.data(), p.scale, emulated.o.data(), emulated.lse.data());
    const auto finite = [](float x) { return std::isfinite(x); };
    if (!std::ranges::all_of(emulated.o, finite) || !std::ranges::all_of(emulated.lse, finite)) return;
    for (uint32_t row = 0; row < rows; ++row) {
      const auto bounds = interval.BoundsOf(&p.q[row * d], p.scale);
      ASSERT_EQ(interval.Defect(bounds, emulated.lse[row], &emulated.o[row * d]), "") << "AMX, row " << row;
    }
#endif
  }

  const uint32_t seed_ = std::random_device{}();
};

INSTANTIATE_TEST_SUITE_P(Sets, AttentionRange, ::testing::ValuesIn(cpu::kInstructionSets),
                         testing::InstructionSetParamName);

// Keys [tokens][d]: the first half against the query, the others nearly zero; logits between about -1 and 0.
Kv AgainstTheQuery(const BlockSpec& spec, const std::vector<float>& q, uint32_t seed) {
  Kv kv = testing::GaussianKv(spec, seed);
  const uint32_t d = spec.head_dim;
  for (uint32_t t = 0; t < spec.tokens; ++t) {
    for (uint32_t j = 0; j < d; ++j) {
      float& x = kv.k[t * d + j];
      x = t % 2 == 0 ? -q[j] * (0.1f + 0.01f * x) : 1e-6f * x;
    }
  }
  return kv;
}

Problem WithKeys(const BlockSpec& spec, Kv kv, std::vector<float> q, float scale, const EncodeOptions& options) {
  Problem p;
  p.q_heads = static_cast<uint32_t>(q.size() / spec.head_dim);
  p.q = std::move(q);
  p.scale = scale;
  p.bytes = {testing::Encode(spec, kv, options)};
  p.blocks = {testing::Parse(p.bytes[0])};
  return p;
}

// Scores overflow to minus infinity, or are lost below the smallest float, before what they are multiplied with brings
// them back. No key is along the query, so that nothing becomes plus infinity.
TEST_P(AttentionRange, LogitsNearOneOfHugeAndTinyFactors) {
  SCOPED_TRACE(testing::SeedText(seed_));
  struct Magnitudes {
    float key, query, scale;
  };
  for (const CodecId id : testing::AllCodecsVector()) {
    if (TraitsOf(id).kind == CodecKind::kDeep || id == CodecId::kBand2_5) continue;  // slow to write
    SCOPED_TRACE(CodecName(id));
    const BlockSpec spec = testing::Spec(testing::ForBothSides(id), 128, 70, 1);
    const std::vector<float> q = Gaussian(128, seed_);
    const Kv kv = AgainstTheQuery(spec, q, seed_ + 1);
    for (const Magnitudes by : {Magnitudes{1, 1, .1f}, {3e37f, 1 / 3e37f, .1f}, {1e38f, 1e-38f, .1f}, {1e30f, 1e-30f, .1f},
                                {1e-33f, 1e33f, .1f}, {1e-36f, 1e36f, .1f}, {1e-41f, 1e37f, 1000}, {1e10f, 1e30f, 1e-41f},
                                {1e-10f, 1e-30f, 1e38f}, {1e-38f, 1e-2f, 1e38f}, {1e38f, 1e-2f, 1e-38f}}) {
      SCOPED_TRACE(by.key);
      SCOPED_TRACE(by.query);
      Kv scaled = kv;
      std::vector<float> query = q;
      for (float& x : scaled.k) x *= by.key;
      for (float& x : query) x *= by.query;
      ASSERT_NO_FATAL_FAILURE(ExpectHeld(WithKeys(spec, scaled, query, by.scale, testing::kCodesAlone)));
    }
  }
}

// What is infinite in one tile is not forgotten in the next.
TEST_P(AttentionRange, OneTileBeyondFp32) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const char* codec : {"turbo4", "k=trellis3,v=turbo2", "fp16", "k=qjl2,v=turbo4", "polar44", "k=turbo3,v=fp16"}) {
    SCOPED_TRACE(codec);
    for (const uint32_t huge_tile : {0u, 1u, 2u}) {
      const BlockSpec spec = testing::Spec(ParseCodecPair(codec).value(), 64, 192, 1);
      Kv kv = testing::GaussianKv(spec, seed_);
      for (size_t i = 0; i < 64 * 64; ++i) kv.k[huge_tile * 64 * 64 + i] *= 1e25f;
      ASSERT_NO_FATAL_FAILURE(ExpectHeld(WithKeys(spec, kv, Gaussian(64, seed_ + 3, 1e15f), 1, testing::kCodesAlone)));
    }
  }
}

// Queries, scale, and every token's key and value of any magnitude, with escapes and means as they come.
TEST_P(AttentionRange, AnyMagnitudes) {
  std::mt19937 generator(seed_);
  SCOPED_TRACE(testing::SeedText(seed_));
  const auto power = [&](int low, int high) { return std::ldexp(1.0f, std::uniform_int_distribution(low, high)(generator)); };
  constexpr const char* kCodecs[] = {"turbo4", "turbo2", "trellis3", "fp16", "polar44", "polarR", "k=qjl1,v=turbo3",
                                     "k=qjl4o,v=fp16", "k=turbo3q,v=trellis1", "k=band3,v=turbo5", "k=turbo4,v=fp16"};
  for (int round = 0; round < 120; ++round) {
    const char* codec = kCodecs[static_cast<size_t>(round) % std::size(kCodecs)];
    SCOPED_TRACE(codec);
    SCOPED_TRACE(round);
    BlockSpec spec = testing::Spec(ParseCodecPair(codec).value(), 64, std::uniform_int_distribution(1u, 140u)(generator), 1);
    const uint32_t heads = 1 + generator() % 6;
    std::vector<float> q = Gaussian(heads * 64, generator());
    Kv kv = testing::GaussianKv(spec, generator());
    const std::vector<float> mean = Gaussian(64, generator(), 3 * static_cast<float>(generator() % 2));
    const int around = std::uniform_int_distribution(-130, 115)(generator), width = 1 << generator() % 7;
    for (uint32_t t = 0; t < spec.tokens; ++t) {
      const float key = power(std::max(-140, around - width), std::min(120, around + width)), value = power(-width, width);
      for (uint32_t j = 0; j < 64; ++j) {
        kv.k[t * 64 + j] = (kv.k[t * 64 + j] + mean[j]) * key;
        kv.v[t * 64 + j] *= value;
      }
    }
    const int query = std::clamp(-around + std::uniform_int_distribution(-40, 40)(generator), -140, 120);
    for (float& x : q) x *= std::ldexp(1.0f, query);
    const float scale = power(-8, 8) * std::ldexp(1.0f, std::clamp(-around - query, -140, 110));
    ASSERT_NO_FATAL_FAILURE(ExpectHeld(WithKeys(spec, kv, q, generator() % 4 == 0 ? -scale : scale, {})));
  }
}

}  // namespace
}  // namespace polarkv
