#include "codec/half_float.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace polarkv {
namespace {

// The value of a half by its definition.
double ValueOf(uint32_t half) {
  const double sign = (half & 0x8000) != 0 ? -1 : 1;
  const int exponent = static_cast<int>(half >> 10 & 31);
  const double mantissa = half & 1023;
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

TEST(HalfFloat, EveryFiniteHalfHasItsValueAndComesBack) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    if ((half & 0x7C00) == 0x7C00) continue;
    const float value = HalfToFloat(static_cast<uint16_t>(half));
    ASSERT_EQ(value, ValueOf(half)) << half;
    ASSERT_EQ(std::signbit(value), (half & 0x8000) != 0) << half;
    ASSERT_EQ(FloatToHalf(value), half);
  }
}

TEST(HalfFloat, RoundsToTheNearerNeighbourAndTiesToTheEvenOne) {
  for (uint16_t half = 0; half < 0x7BFF; ++half) {
    const float low = HalfToFloat(half);
    const float high = HalfToFloat(half + 1);
    const float middle = static_cast<float>((double{low} + high) / 2);  // exact: a half's step has bits to spare
    const uint16_t even = half % 2 == 0 ? half : half + 1;
    ASSERT_EQ(FloatToHalf(middle), even) << half;
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, 0.0f)), half);
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, 1e9f)), half + 1);
    ASSERT_EQ(FloatToHalf(-middle), even | 0x8000);
    ASSERT_EQ(FloatToHalfUp(low), half);
    ASSERT_EQ(FloatToHalfUp(std::nextafter(low, 1e9f)), half + 1);
    ASSERT_EQ(FloatToHalfUp(high), half + 1);
  }
}

TEST(HalfFloat, OverflowsToInfinityFromTheMiddleAboveTheLargestHalf) {
  EXPECT_EQ(FloatToHalf(65519.996f), 0x7BFF);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7C00);
  EXPECT_EQ(FloatToHalf(-std::numeric_limits<float>::max()), 0xFC00);
}

TEST(HalfFloat, InfinitiesAndNansStayWhatTheyAre) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(HalfToFloat(0x7C00), infinity);
  EXPECT_EQ(HalfToFloat(0xFC00), -infinity);
  EXPECT_TRUE(std::isnan(HalfToFloat(0x7C01)));
  EXPECT_EQ(FloatToHalf(infinity), 0x7C00);
  EXPECT_EQ(FloatToHalf(-infinity), 0xFC00);
  EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(std::nanf("")))));
}

TEST(HalfFloat, BrainFloatIsTheUpperHalfOfAFloat) {
  EXPECT_EQ(BFloat16ToFloat(0x3F80), 1.0f);
  EXPECT_EQ(BFloat16ToFloat(0xC049), -3.140625f);
  EXPECT_EQ(BFloat16ToFloat(0x0001), 0x1p-133f);
}

}  // namespace
}  // namespace polarkv
