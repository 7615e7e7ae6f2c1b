#include "codec/rotation.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Dot;
using testing::Gaussian;
using testing::SeedText;

// The rotation as a function of one vector, normalised.
std::vector<float> Rotate(std::vector<float> x) {
  const uint32_t dim = static_cast<uint32_t>(x.size());
  const auto signs = RotationSigns(BlockSpec::kDefaultRotationSeed);
  for (uint32_t j = 0; j < dim; ++j) x[j] *= signs[j];
  HadamardBlocks(x.data(), dim, RotationBlock(dim), 1);
  for (float& value : x) value *= RotationScale(dim);
  return x;
}

class RotationOf : public ::testing::TestWithParam<uint32_t> {};

TEST_P(RotationOf, IsOrthonormal) {
  // Entries are +-1/sqrt(B), rounded to float once; a sum of B <= 256 products then errs by less than 2^-23.
  constexpr double kTolerance = 1e-6;
  const uint32_t dim = GetParam();
  std::vector<std::vector<float>> rows;
  for (uint32_t i = 0; i < dim; ++i) {
    std::vector<float> unit(dim);
    unit[i] = 1;
    rows.push_back(Rotate(unit));
  }
  for (uint32_t i = 0; i < dim; ++i) {
    for (uint32_t j = 0; j < dim; ++j) {
      ASSERT_NEAR(Dot(rows[i].data(), rows[j].data(), dim), i == j ? 1 : 0, kTolerance) << i << " " << j;
    }
  }
}

TEST_P(RotationOf, MixesEveryCoordinateOfABlock) {
  const uint32_t dim = GetParam();
  std::vector<float> unit(dim);
  unit[0] = 1;
  const std::vector<float> row = Rotate(unit);
  for (uint32_t j = 0; j < dim; ++j) EXPECT_EQ(row[j] != 0, j < RotationBlock(dim)) << j;
}

TEST_P(RotationOf, OfColumnsSideBySideIsTheRotationOfEach) {
  const uint32_t dim = GetParam();
  const uint32_t seed = 11;
  SCOPED_TRACE(SeedText(seed));
  constexpr uint32_t kColumns = 16;
  std::vector<float> together = Gaussian(dim * kColumns, seed);
  std::vector<std::vector<float>> alone(kColumns, std::vector<float>(dim));
  for (uint32_t c = 0; c < kColumns; ++c) {
    for (uint32_t j = 0; j < dim; ++j) alone[c][j] = together[j * kColumns + c];
    HadamardBlocks(alone[c].data(), dim, RotationBlock(dim), 1);
  }
  HadamardBlocks(together.data(), dim, RotationBlock(dim), kColumns);
  for (uint32_t c = 0; c < kColumns; ++c) {
    for (uint32_t j = 0; j < dim; ++j) ASSERT_EQ(together[j * kColumns + c], alone[c][j]);
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, RotationOf, ::testing::Values(64, 80, 96, 112, 128, 192, 256),
                         ::testing::PrintToStringParamName());

TEST(RotationSigns, AreTheBitsOfSplitMix64) {
  // Published outputs for seed 1234567 (rosettacode.org, "Pseudo-random numbers/Splitmix64").
  constexpr uint64_t kOutputs[4] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                    4593380528125082431u};
  const auto signs = RotationSigns(1234567);
  for (uint32_t j = 0; j < kMaxHeadDim; ++j) {
    EXPECT_EQ(signs[j], (kOutputs[j / 64] >> j % 64 & 1) != 0 ? -1.0f : 1.0f) << j;
  }
}

TEST(RotationSigns, DependOnTheSeed) { EXPECT_NE(RotationSigns(1), RotationSigns(2)); }

}  // namespace
}  // namespace polarkv
