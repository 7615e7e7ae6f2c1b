// What means add to logits, against exact angles; attention's own tests cannot see errors below those of rounded queries.
#include "kernels/cpu/key_mean_logits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <random>
#include <string>

#include "codec/key_mean.h"
#include "codec/rope_phase.h"
#include "kernels/cpu/slow_turn.h"
#include "kernels/cpu/turbo_table.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/attention_problem.h"
#include "tests/kernels/instruction_sets.h"

namespace polarkv::cpu {
namespace {

using testing::Gaussian;

constexpr double kTurn = 2 * std::numbers::pi;

double Angle(uint64_t turns) { return static_cast<double>(static_cast<int64_t>(turns)) * 0x1p-64 * kTurn; }

// q . R_n mu, and the sum of what its pairs could come to.
struct Product {
  double value = 0, reach = 0;
};
Product Exact(const BlockSpec& spec, uint64_t position, const float* q, const float* mean) {
  Product out;
  const auto pairs = static_cast<uint32_t>(spec.phases.size());
  for (uint32_t p = 0; p < pairs; ++p) {
    const CoordinatePair pair = PairOf(spec.rope, spec.head_dim, p);
    const double a = double{q[pair.first]} * mean[pair.first] + double{q[pair.second]} * mean[pair.second];
    const double b = double{q[pair.second]} * mean[pair.first] - double{q[pair.first]} * mean[pair.second];
    const double angle = Angle(spec.phases[p] * position);
    out.value += a * std::cos(angle) + b * std::sin(angle);
    out.reach += std::hypot(a, b);
  }
  for (uint32_t j = 2 * pairs; j < spec.head_dim; ++j) {
    out.value += double{q[j]} * mean[j];
    out.reach += std::fabs(double{q[j]} * mean[j]);
  }
  return out;
}

class KeyMeanLogitsTest : public ::testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override { POLARKV_SKIP_WITHOUT(GetParam()); }

  // `tiles` tiles from the third on, of a block whose keys have a mean.
  void Check(BlockSpec spec, uint32_t rows, uint32_t tiles) {
    SCOPED_TRACE(testing::SeedText(seed_));
    testing::Kv kv = testing::GaussianKv(spec, seed_);
    for (float& x : kv.k) x += 3;
    EncodeOptions options;
    options.key_mean = KeyMeanPolicy::kAlways;
    const std::vector<uint8_t> bytes = testing::Encode(spec, kv, options);
    const BlockView block = testing::Parse(bytes);
    const std::array<float, kMaxHeadDim> mean = ReadRecord(block.KeyMean(0, 1));
    const std::vector<float> q = Gaussian(rows * spec.head_dim, seed_ + 1);
    const float unit = -.125f, before = .25f;
    std::vector<float> logits(size_t{tiles} * rows * kTileTokens, before);
    std::vector<uint64_t> tokens(tiles);
    std::mt19937_64 bits(seed_);
    for (uint64_t& tile : tokens) tile = bits() | bits();

    KeyMeanLogits means(rows);
    means.Use(GetParam());
    means.Start(block, 0, 1, q.data());
    means.Add(2, tokens, unit, logits.data());
    for (uint32_t tile = 0; tile < tiles; ++tile) {
      for (uint32_t row = 0; row < rows; ++row) {
        for (uint32_t t = 0; t < kTileTokens; ++t) {
          const uint64_t position = spec.first_position + (2 + tile) * kTileTokens + t;
          const Product exact = Exact(block.spec(), position, &q[row * spec.head_dim], mean.data());
          ASSERT_LE(std::fabs(exact.value), means.Reach() + 1.5e-6 * exact.reach);
          const bool with_mean = (tokens[tile] >> t & 1) != 0;
          const float got = logits[(tile * rows + row) * kTileTokens + kScoreOrder.place[t]];
          // Directions err by up to 1e-6; sums of fp32 numbers by less.
          ASSERT_NEAR(got, before + (with_mean ? unit * exact.value : 0), 1e-7 + 1.5e-6 * std::fabs(unit) * exact.reach)
              << "tile " << tile << ", row " << row << ", token " << t;
        }
      }
    }
  }

  static BlockSpec SpecOf(const Rope& rope, uint32_t head_dim, uint64_t first_position) {
    BlockSpec spec = testing::Spec({CodecId::kTurbo2, CodecId::kTurbo2}, head_dim, 20 * kTileTokens, 2);
    spec.rope = rope;
    spec.first_position = first_position;
    return spec;
  }
  const uint32_t seed_ = std::random_device{}();
};

TEST_P(KeyMeanLogitsTest, AnyBaseAndPosition) {
  for (const float base : {2.0f, 1e4f, 1e6f, 5e8f}) {
    for (const uint64_t first : {uint64_t{0}, uint64_t{100'003}, uint64_t{1} << 52}) {
      SCOPED_TRACE(std::to_string(base) + " from " + std::to_string(first));
      Check(SpecOf({RopePairing::kHalf, base, 128}, 128, first), 3, 12);
    }
  }
}

TEST_P(KeyMeanLogitsTest, AnyShape) {
  for (const uint32_t head_dim : {64u, 80u, 96u, 192u, 256u}) {
    for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved, RopePairing::kNone}) {
      SCOPED_TRACE(head_dim);
      const auto turned = static_cast<uint16_t>(head_dim - (head_dim > 64 ? 16 : 0));
      Check(SpecOf(pairing == RopePairing::kNone ? Rope{} : Rope{pairing, 1e4f, turned}, head_dim, 77), 1, 5);
    }
  }
}

TEST_P(KeyMeanLogitsTest, AnyNumberOfRowsAndTiles) {
  for (const uint32_t rows : {1u, 2u, 5u, 8u}) {
    for (const uint32_t tiles : {1u, 2u, 7u, KeyMeanLogits::kMostTiles}) {
      SCOPED_TRACE(std::to_string(rows) + " rows, " + std::to_string(tiles) + " tiles");
      Check(SpecOf({RopePairing::kHalf, 1e6f, 128}, 128, 4096), rows, tiles);
    }
  }
}

// A block says its phases itself; a slow pair may come before a fast one.
TEST_P(KeyMeanLogitsTest, AnyPhases) {
  BlockSpec spec = SpecOf({RopePairing::kHalf, 1e4f, 64}, 64, 999);
  ASSERT_EQ(SettlePhases(spec), absl::OkStatus());
  std::mt19937_64 bits(seed_);
  for (uint64_t& phase : spec.phases) phase = bits() >> (bits() % 64);
  Check(spec, 2, 9);
  spec.phases.back() = 0;
  spec.phases.front() = ~uint64_t{0};  // backwards
  Check(spec, 2, 9);
}

INSTANTIATE_TEST_SUITE_P(Sets, KeyMeanLogitsTest, ::testing::ValuesIn(testing::kFastSets), testing::InstructionSetParamName);

TEST(SlowTurn, PolynomialsAreWithin2e_7) {
  for (const double turned : {1.0, .99, .7, .3, 1e-2, 1e-6}) {
    const auto phase = static_cast<uint64_t>(turned / (31.5 * kTurn) * 0x1p64);
    ASSERT_TRUE(IsSlow(phase));
    const SlowTerms factor = CoefficientsOf(phase);
    for (float x = .5f; x < 32; ++x) {
      const SlowTerms power = PowersAt(x);
      double cosine = 0, sine = 0;
      for (uint32_t k = 0; k < kSlowTerms; ++k) {
        cosine += double{factor.cosine[k]} * power.cosine[k];
        sine += double{factor.sine[k]} * power.sine[k];
      }
      EXPECT_NEAR(cosine, std::cos(turned * x / 31.5), 2e-7) << turned << " " << x;
      EXPECT_NEAR(sine, std::sin(turned * x / 31.5), 2e-7) << turned << " " << x;
    }
  }
  EXPECT_FALSE(IsSlow(static_cast<uint64_t>(1.001 / (31.5 * kTurn) * 0x1p64)));
  EXPECT_FALSE(IsSlow(~uint64_t{0}));
}

}  // namespace
}  // namespace polarkv::cpu
