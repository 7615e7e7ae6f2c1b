#include "codec/log_scale.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace polarkv {
namespace {

constexpr double kHalfStep = 0.5 / kScaleSteps;  // octaves

TEST(LogScale, TablesAreTheFloatsNearestToPowersOfTwo) {
  const auto nearest = [](float value, double exponent) {
    const long double exact = std::exp2(static_cast<long double>(exponent));
    const long double error = std::fabs(value - exact);
    return error <= std::fabs(std::nextafter(value, 0.0f) - exact) &&
           error <= std::fabs(std::nextafter(value, 3.0f) - exact);
  };
  for (int i = 0; i < kScaleSteps; ++i) {
    EXPECT_TRUE(nearest(kOctave[i], i / 64.0)) << i;
    EXPECT_TRUE(nearest(kOctaveThresholds[i], (i + .5) / 64)) << i;
  }
}

TEST(LogScale, TheStepIsTheNearestInTheLogarithm) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> mantissas(0.25f, 8.0f);
  std::uniform_int_distribution<int> exponents(-160, 127);
  for (int i = 0; i < 100000; ++i) {
    const float mantissa = mantissas(random);
    const int exponent = exponents(random);
    const double exact = 64 * (std::log2(double{mantissa}) + exponent);
    ASSERT_LE(std::fabs(ScaleStep(mantissa, exponent) - exact), .5 + 1e-5) << mantissa << " " << exponent;
  }
  EXPECT_EQ(ScaleStep(kOctaveThresholds[5], 0), 6);  // a threshold belongs to the step above
  EXPECT_EQ(ScaleStep(std::nextafter(kOctaveThresholds[5], 0.0f), 0), 5);
  EXPECT_EQ(ScaleStep(std::nextafter(2.0f, 0.0f), 3), 64 * 4);
}

struct Stored {
  ScaleRange range;
  std::vector<uint8_t> codes;
  double Value(size_t t) const { return ScaleValue(range, codes[t]); }
};

Stored Store(const std::vector<float>& mantissa, const std::vector<int>& exponent) {
  Stored stored;
  stored.codes.resize(mantissa.size(), 0xAA);
  stored.range =
      StoreScales(mantissa.data(), exponent.data(), static_cast<uint32_t>(mantissa.size()), stored.codes.data());
  return stored;
}

TEST(LogScale, ErrsByHalfAStepAndHasNoBias) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> logarithms(-1.9f, 1.9f);
  double sum = 0, square = 0;
  int count = 0;
  for (int tile = 0; tile < 2000; ++tile) {
    std::vector<float> mantissa;
    for (int t = 0; t < 64; ++t) mantissa.push_back(std::exp2(logarithms(random)));
    const Stored stored = Store(mantissa, std::vector<int>(64, -20));
    EXPECT_EQ(stored.range.shift, 0);
    EXPECT_EQ(*std::max_element(stored.codes.begin(), stored.codes.end()), 255);
    for (int t = 0; t < 64; ++t, ++count) {
      const double ratio = stored.Value(t) / std::ldexp(double{mantissa[t]}, -20);
      ASSERT_LE(std::fabs(std::log2(ratio)), kHalfStep + 1e-6);
      sum += ratio - 1;
      square += (ratio - 1) * (ratio - 1);
    }
  }
  // Uniform on a step in the logarithm: mean h^2/6, deviation h/sqrt(3) with h = ln 2 / 128; 128,000 samples.
  EXPECT_NEAR(sum / count, 0, 1e-4);
  EXPECT_NEAR(std::sqrt(square / count), .003126, .00005);
}

TEST(LogScale, TheShiftIsTheLeastThatFits) {
  for (int octaves : {0, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 126}) {
    const Stored stored = Store({1.0f, 1.3f, 1.0f}, {0, octaves, 3});
    const int span = 64 * octaves + ScaleStep(1.3f, 0);
    int shift = 0;
    while (((span + (1 << shift >> 1)) >> shift) > 254) ++shift;
    EXPECT_EQ(stored.range.shift, shift) << octaves;
    EXPECT_LE(std::fabs(std::log2(stored.Value(0))), kHalfStep * (1 << shift) * 1.001) << octaves;
    EXPECT_LE(std::fabs(std::log2(stored.Value(1) / 1.3) - octaves), kHalfStep * ((1 << shift) + 1) * 1.001) << octaves;
  }
}

TEST(LogScale, ScalesTooSmallForTheLargestShiftBecomeZero) {
  const Stored stored = Store({1.0f, 1.0f, 1.0f}, {127, 1, -140});
  EXPECT_EQ(stored.range.shift, kMaxTileShift);
  EXPECT_EQ(stored.Value(0), 0x1p127);
  EXPECT_EQ(stored.Value(1), 2);
  EXPECT_EQ(stored.codes[2], 0);
  EXPECT_EQ(stored.Value(2), 0);
}

TEST(LogScale, ZerosAreExactAndAloneLeaveTheRangeZero) {
  const Stored some = Store({0, 1.5f, 0}, {0, -100, 0});
  EXPECT_EQ(some.codes, (std::vector<uint8_t>{0, 255, 0}));
  EXPECT_EQ(some.range.base, ScaleStep(1.5f, -100) - 255);
  EXPECT_EQ(some.Value(0), 0);
  const Stored none = Store({0, 0}, {0, 0});
  EXPECT_EQ(none.range, ScaleRange{});
  EXPECT_EQ(none.codes, (std::vector<uint8_t>{0, 0}));
}

TEST(LogScale, PowersOfTwoMoveTheBaseAlone) {
  const std::vector<float> mantissa = {1.1f, 1.9f, .7f, 3.3f};
  const Stored one = Store(mantissa, {0, 0, 0, 0});
  for (int power : {-150, -7, 1, 120}) {
    const Stored other = Store(mantissa, std::vector<int>(4, power));
    EXPECT_EQ(other.codes, one.codes);
    EXPECT_EQ(other.range.base, one.range.base + 64 * power);
  }
}

TEST(LogScale, KnownValues) {
  // The vectors of FORMAT.md.
  EXPECT_EQ(ScaleStep(1.0f, 0), 0);
  EXPECT_EQ(ScaleStep(0.75f, 0), -27);
  EXPECT_EQ(ScaleStep(1.5f, -10), -603);
  EXPECT_EQ(ScaleValue({-300, 0}, 255), std::ldexp(double{kOctave[19]}, -1));
  EXPECT_EQ(ScaleValue({-100, 2}, 1), std::ldexp(double{kOctave[52]}, -7));
}

}  // namespace
}  // namespace polarkv
