#include "tests/quality/measures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/quality/block_scheme.h"
#include "tests/quality/random_source.h"
#include "tests/quality/synthetic_case.h"

namespace polarkv::quality {
namespace {

KvCase SmallCase() { return MakeSyntheticCase({.tokens = 192, .rope = {}, .seed = 5}); }

TEST(Measures, AreZeroForAnExactCopy) {
  const KvCase kv = SmallCase();
  const Measures m = Measure(CaseReference(kv), {.k = kv.k, .v = kv.v, .output = {}, .bits = {}, .net = {}});
  EXPECT_EQ(m.key_error, 0);
  EXPECT_EQ(m.value_error, 0);
  EXPECT_NEAR(m.unit_slope, 1, 1e-12);
  EXPECT_NEAR(m.unit_error_half, 0, 1e-12);
  EXPECT_EQ(m.logit_variance, 0);
  EXPECT_EQ(m.logit_slope, 1);
  EXPECT_NEAR(m.attention_kl, 0, 1e-12);
  EXPECT_EQ(m.top1, 1);
  EXPECT_EQ(m.top8, 1);
  EXPECT_NEAR(m.output_error, 0, 1e-12);
}

// A copy made larger by a tenth: every measure is known in closed form.
TEST(Measures, AreKnownForAScaledCopy) {
  const KvCase kv = SmallCase();
  Reconstruction scaled{.k = kv.k, .v = kv.v, .output = {}, .bits = {}, .net = {}};
  for (float& x : scaled.k) x *= 1.1f;
  for (float& x : scaled.v) x *= 1.1f;
  const Measures m = Measure(CaseReference(kv), scaled);
  EXPECT_NEAR(m.key_error, .01, 1e-6);
  EXPECT_NEAR(m.value_error, .01, 1e-6);
  EXPECT_NEAR(m.unit_slope, 1.1, 1e-6);
  EXPECT_NEAR(m.unit_error_independent, .01, 1e-6);
  EXPECT_NEAR(m.unit_error_half, 128 * .25 * .01, 1e-5);
  EXPECT_NEAR(m.logit_slope, 1.1, 1e-6);
  EXPECT_NEAR(m.logit_variance, .01, .001);
  EXPECT_EQ(m.top1, 1);
  EXPECT_GT(m.attention_kl, 0);
}

// The expectation over queries that is taken exactly is that of drawn queries.
TEST(Measures, UnitErrorsAreThoseOfDrawnQueries) {
  const KvCase kv = SmallCase();
  RandomSource random(9);
  Reconstruction noisy{.k = kv.k, .v = kv.v, .output = {}, .bits = {}, .net = {}};
  for (float& x : noisy.k) x = static_cast<float>(.95 * x + .2 * random.Normal());
  const Measures m = Measure(CaseReference(kv), noisy);
  const uint32_t d = kv.head_dim;
  double independent = 0, half = 0, count = 0;
  for (size_t row = 0; row < kv.k.size(); row += d) {
    std::vector<double> key(d), estimate(d), across(d);
    double norm = 0;
    for (uint32_t j = 0; j < d; ++j) norm += double{kv.k[row + j]} * kv.k[row + j];
    norm = std::sqrt(norm);
    for (uint32_t j = 0; j < d; ++j) key[j] = kv.k[row + j] / norm, estimate[j] = noisy.k[row + j] / norm;
    for (int draw = 0; draw < 64; ++draw, ++count) {
      double along = 0, square = 0, query_square = 0, error = 0;
      for (uint32_t j = 0; j < d; ++j) {
        across[j] = random.Normal();
        query_square += across[j] * across[j];
        along += across[j] * key[j];
        error += across[j] * (estimate[j] - key[j]);
      }
      independent += d * error * error / query_square;
      for (uint32_t j = 0; j < d; ++j) {
        across[j] -= along * key[j];
        square += across[j] * across[j];
      }
      error = 0;
      for (uint32_t j = 0; j < d; ++j) {
        error += (.5 * key[j] + std::sqrt(.75 / square) * across[j]) * (estimate[j] - key[j]);
      }
      half += d * error * error;
    }
  }
  EXPECT_NEAR(independent / count / m.unit_error_independent, 1, .04);
  EXPECT_NEAR(half / count / m.unit_error_half, 1, .04);
}

TEST(SyntheticCase, IsTheSameEachTimeAndAnotherForAnotherSeed) {
  EXPECT_EQ(SmallCase().k, SmallCase().k);
  EXPECT_NE(SmallCase().k, MakeSyntheticCase({.tokens = 192, .rope = {}, .seed = 6}).k);
}

TEST(SyntheticCase, GivesTheSinkItsShareOfTheAttention) {
  for (auto [sink, token] : {std::pair{Sink::kFirstToken, 0u}, std::pair{Sink::kInside, 128u}}) {
    const KvCase kv = MakeSyntheticCase({.tokens = 384, .bias = 120, .sink = sink});
    const CaseReference reference(kv);
    for (uint64_t row = 0; row < kv.rows(); ++row) {
      std::vector<double> logits(reference.Products(row).begin(), reference.Products(row).end());
      for (double& x : logits) x /= std::sqrt(128.0);
      EXPECT_NEAR(SoftmaxWeights(logits)[token], kSinkMass, .01) << row;
    }
  }
}

TEST(SyntheticCase, TurnsTheBiasWithRope) {
  for (RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
    const KvCase kv = MakeSyntheticCase({.tokens = 512, .rope = {pairing, 1e4f, 128}, .bias = 600});
    // The norm stays; the direction of a fast pair does not.
    double first = 0, last = 0, product = 0;
    const float *a = kv.k.data(), *b = &kv.k[511 * 128];
    for (int j = 0; j < 128; ++j) first += a[j] * a[j], last += b[j] * b[j], product += a[j] * b[j];
    EXPECT_NEAR(std::sqrt(first), 600, 40);
    EXPECT_NEAR(std::sqrt(last), 600, 40);
    EXPECT_LT(product / std::sqrt(first * last), .95);
  }
}

// What DecodeBlock returns and what Attend computes from the same blocks must agree, or figures about keys and figures
// about outputs would be about two different codecs.
class BlockSchemeAt : public ::testing::TestWithParam<double> {};

TEST_P(BlockSchemeAt, AttendsOnWhatItDecodes) {
  // With a bias two blocks, the larger one long enough to take the keys' mean off.
  const uint32_t tokens = GetParam() == 0 ? 128 : 320;
  const KvCase kv = MakeSyntheticCase({.tokens = tokens, .bias = GetParam(), .seed = 8});
  for (const NamedPair& known : KnownPairs()) {
    const absl::StatusOr<Reconstruction> result = BlockScheme(known.name, known.pair, 256).Apply(kv);
    ASSERT_TRUE(result.ok()) << known.name << ": " << result.status();
    KvCase decoded = kv;
    decoded.k = result->k;
    decoded.v = result->v;
    const CaseReference exact(decoded);
    double error = 0, square = 0;
    for (uint64_t row = 0; row < kv.rows(); ++row) {
      for (uint32_t j = 0; j < kv.head_dim; ++j) {
        error += std::pow(result->output[row * kv.head_dim + j] - exact.Output(row)[j], 2);
        square += std::pow(exact.Output(row)[j], 2);
      }
    }
    EXPECT_LT(std::sqrt(error / square), .02) << known.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Biases, BlockSchemeAt, ::testing::Values(0.0, 120.0));

TEST(BlockScheme, CountsEveryByteOfItsBlocks) {
  const KvCase kv = MakeSyntheticCase({.tokens = 1024, .rope = {}});
  const absl::StatusOr<Reconstruction> result = BlockScheme("fp16", {CodecId::kFp16, CodecId::kFp16}, 512).Apply(kv);
  ASSERT_TRUE(result.ok()) << result.status();
  // Header, directory and heads of 64 bytes a tile come on top of 16 bits.
  EXPECT_GT(result->bits.mean(), 16.03);
  EXPECT_LT(result->bits.mean(), 16.06);
  EXPECT_GT(result->bits.mean(), result->net.mean());
}

}  // namespace
}  // namespace polarkv::quality
