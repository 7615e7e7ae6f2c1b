#include "codec/rope_phase.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Gaussian;
using testing::SeedText;

constexpr long double kTwoPi = 2 * std::numbers::pi_v<long double>;

void ExpectDirection(uint64_t turns) {
  const long double angle = static_cast<long double>(turns) * 0x1p-64L * kTwoPi;
  const Direction direction = DirectionOfTurns(turns);
  ASSERT_NEAR(direction.cosine, static_cast<double>(std::cos(angle)), 2e-7) << turns;
  ASSERT_NEAR(direction.sine, static_cast<double>(std::sin(angle)), 2e-7) << turns;
}

TEST(RopePhase, CosineAndSineAreWithinTwoTenMillionths) {
  const uint32_t seed = 1;
  SCOPED_TRACE(SeedText(seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 500000; ++i) ExpectDirection(random());
  for (uint64_t eighth = 0; eighth < 8; ++eighth) {
    for (uint64_t offset : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 40}) {
      ExpectDirection((eighth << 61) + offset);
      ExpectDirection((eighth << 61) - offset);
    }
  }
  EXPECT_EQ(DirectionOfTurns(0).cosine, 1);
  EXPECT_EQ(DirectionOfTurns(0).sine, 0);
  EXPECT_EQ(DirectionOfTurns(uint64_t{1} << 62).sine, 1);
  EXPECT_EQ(DirectionOfTurns(uint64_t{1} << 63).cosine, -1);
}

TEST(RopePhase, PhasesAreFrequenciesInTurns) {
  for (float base : {1e4f, 5e5f, 1e6f}) {
    for (uint16_t dims : {uint16_t{32}, uint16_t{128}}) {
      const std::vector<uint64_t> phases = RopePhases({RopePairing::kHalf, base, dims});
      ASSERT_EQ(phases.size(), dims / 2u);
      for (uint32_t j = 0; j < phases.size(); ++j) {
        const double expected = std::pow(double{base}, -2.0 * j / dims) / (2 * std::numbers::pi);
        EXPECT_NEAR(static_cast<double>(phases[j]) * 0x1p-64, expected, 1e-15 * expected + 0x1p-64);
      }
    }
  }
  EXPECT_TRUE(RopePhases({}).empty());
}

TEST(RopePhase, KnownPhase) {
  // One radian in turns: 1 / (2 pi) * 2^64.
  EXPECT_EQ(RopePhases({RopePairing::kHalf, 1e4f, 2})[0], 0x28BE60DB9391054Au);
}

// Blocks and profiles hold phases: were they a library's pow, machines would disagree on bytes and digests.
TEST(RopePhase, EveryBitIsThatOfTheFormula) {
  std::ifstream file(std::string(POLARKV_SOURCE_DIR) + "/tests/golden/rope_phases.txt");
  std::string comment;
  ASSERT_TRUE(std::getline(file, comment));
  float base;
  uint32_t dims, j, count = 0;
  uint64_t phase;
  while (file >> std::dec >> base >> dims >> j >> std::hex >> phase) {
    const Rope rope = {RopePairing::kHalf, base, static_cast<uint16_t>(dims)};
    EXPECT_EQ(RopePhases(rope)[j], phase) << base << " " << dims << " " << j;
    ++count;
  }
  EXPECT_EQ(count, 3u * 64 + 48);
}

// The exact value of 2^64 base / (2 pi) is beyond what 106 bits know of it; what matters is that nothing overflows.
TEST(RopePhase, AnyBaseIsTaken) {
  for (float base : {std::numeric_limits<float>::denorm_min(), .5f, 1.0f, std::numeric_limits<float>::max()}) {
    for (uint16_t dims : {uint16_t{2}, uint16_t{256}}) {
      EXPECT_EQ(RopePhases({RopePairing::kHalf, base, dims}).size(), dims / 2u);
    }
  }
}

TEST(RopePhase, TurnsPairsAsRopeDoes) {
  const std::vector<float> x = Gaussian(128, 3);
  for (RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (uint16_t dims : {uint16_t{64}, uint16_t{128}}) {
      const Rope rope = {pairing, 1e4f, dims};
      for (uint64_t position : {0u, 1u, 1000u, 131071u}) {
        float turned[128];
        TurnToPosition(rope, RopePhases(rope), position, x.data(), 128, turned);
        for (uint32_t p = 0; p < dims / 2u; ++p) {
          const uint32_t i = pairing == RopePairing::kHalf ? p : 2 * p,
                         j = pairing == RopePairing::kHalf ? p + dims / 2 : 2 * p + 1;
          const double angle = static_cast<double>(position) * std::pow(1e4, -2.0 * p / dims);
          // The double's angle itself is known to 2e-11 only.
          EXPECT_NEAR(turned[i], x[i] * std::cos(angle) - x[j] * std::sin(angle), 2e-6) << p;
          EXPECT_NEAR(turned[j], x[i] * std::sin(angle) + x[j] * std::cos(angle), 2e-6) << p;
        }
        for (uint32_t j = dims; j < 128; ++j) EXPECT_EQ(turned[j], x[j]);
      }
    }
  }
}

TEST(RopePhase, TheLargestNumbersStayFinite) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  const Rope rope = {RopePairing::kHalf, 1e4f, 128};
  std::vector<float> x(128, kLargest);
  for (uint32_t j = 64; j < 128; ++j) x[j] = j % 2 == 0 ? kLargest : -kLargest;
  for (uint64_t position = 0; position < 1000; ++position) {
    float turned[128];
    TurnToPosition(rope, RopePhases(rope), position, x.data(), 128, turned);
    for (const float value : turned) ASSERT_TRUE(std::isfinite(value)) << position;
  }
}

}  // namespace
}  // namespace polarkv
