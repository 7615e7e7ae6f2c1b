// A rival that computes something else would be no rival.
#include "tests/bench/amx_rival_attention.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "kernels/cpu/amx_support.h"
#include "tests/bench/rival_attention.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/amx_instruction_emulator.h"

namespace polarkv::bench {
namespace {

uint16_t ToBf16(float x) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16); }
double FromBf16(uint16_t x) { return std::bit_cast<float>(uint32_t{x} << 16); }

using Rival = void(const uint16_t*, const uint16_t*, uint32_t, const uint16_t*, uint32_t, float*, float*);

void ExpectAttention(Rival* attend, uint32_t tokens, uint32_t rows, uint32_t seed) {
  SCOPED_TRACE(testing::SeedText(seed));
  const size_t n = size_t{tokens} * kRivalDim;
  const auto k = testing::Gaussian(n, seed), v = testing::Gaussian(n, seed + 1);
  const auto q = testing::Gaussian(rows * kRivalDim, seed + 2, 0.2f);
  std::vector<uint16_t> keys(n), values(n), queries(q.size());
  for (uint32_t t = 0; t < tokens; ++t) {
    for (uint32_t j = 0; j < kRivalDim; ++j) {
      keys[AmxKeyPlace(t, j)] = ToBf16(k[t * kRivalDim + j]);
      values[AmxValuePlace(t, j)] = ToBf16(v[t * kRivalDim + j]);
    }
  }
  for (size_t i = 0; i < q.size(); ++i) queries[i] = ToBf16(q[i]);
  std::vector<float> o(q.size(), NAN), lse(rows, NAN);
  attend(keys.data(), values.data(), tokens, queries.data(), rows, o.data(), lse.data());
  for (uint32_t r = 0; r < rows; ++r) {
    std::vector<double> expected(kRivalDim), magnitude(kRivalDim);
    double total = 0;
    for (uint32_t t = 0; t < tokens; ++t) {
      double logit = 0;
      for (uint32_t j = 0; j < kRivalDim; ++j) {
        logit += FromBf16(queries[r * kRivalDim + j]) * FromBf16(ToBf16(k[t * kRivalDim + j]));
      }
      const double p = std::exp2(logit);
      total += p;
      for (uint32_t j = 0; j < kRivalDim; ++j) {
        expected[j] += p * FromBf16(ToBf16(v[t * kRivalDim + j]));
        magnitude[j] += p * std::fabs(v[t * kRivalDim + j]);
      }
    }
    ASSERT_NEAR(lse[r], std::log2(total), 1e-4);
    for (uint32_t j = 0; j < kRivalDim; ++j) {
      // A probability is rounded by at most 2^-9 of itself.
      ASSERT_NEAR(o[r * kRivalDim + j], expected[j] / total, 1.1 / 512 * magnitude[j] / total) << r << ", " << j;
    }
  }
}

class AmxRival : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasBf16()) GTEST_SKIP() << "this machine has no AVX-512 BF16";
  }
  const uint32_t seed_ = std::random_device{}();
};

TEST_F(AmxRival, ComputesAttentionOnEmulatedTiles) {
  for (const uint32_t rows : {1u, 4u, 8u, 16u}) ExpectAttention(AttendEmulatedAmxBf16, 256, rows, seed_);
  ExpectAttention(AttendEmulatedAmxBf16, 64, 3, seed_);
}

#if defined(POLARKV_HAS_AMX_BODY)
TEST_F(AmxRival, ComputesAttentionAsCompiled) {
#if defined(__linux__)
  if (cpu::WhyNoAmx().empty()) GTEST_SKIP() << "this machine has AMX: its instructions need no emulation";
  const testing::AmxInstructionEmulator emulator;
  ExpectAttention(AttendAmxBf16, 256, 8, seed_);
  EXPECT_GT(emulator.count(), 0u);
#else
  GTEST_SKIP() << "instructions are emulated on Linux only";
#endif
}

TEST_F(AmxRival, ComputesAttentionOnTheProcessor) {
  if (!HasAmxBf16()) GTEST_SKIP() << "no AMX with bf16 products here; " << cpu::WhyNoAmx();
  for (const uint32_t rows : {1u, 4u, 8u, 16u}) ExpectAttention(AttendAmxBf16, 1024, rows, seed_);
}
#endif

}  // namespace
}  // namespace polarkv::bench
