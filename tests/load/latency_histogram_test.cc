#include "client/load/latency_histogram.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "client/load/mixing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

using std::chrono::nanoseconds;

// The definition, on sorted values: the smallest value with at least a share q of all at or below it.
uint64_t ExactPercentile(std::vector<uint64_t> values, double q) {
  std::ranges::sort(values);
  const double rank = std::ceil(q * static_cast<double>(values.size()) - 1e-6);
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

TEST(LatencyHistogramTest, PercentilesAreWithinOnePartIn256AndNeverBelow) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Random random(seed);
    std::vector<uint64_t> values;
    LatencyHistogram histogram;
    for (int i = 0; i < 20000; ++i) {
      // From nanoseconds to minutes.
      values.push_back(static_cast<uint64_t>(std::exp(random.Uniform() * 25)));
      histogram.Record(nanoseconds{static_cast<int64_t>(values.back())});
    }
    for (const double q : {0.01, 0.5, 0.9, 0.99, 0.999}) {
      const uint64_t exact = ExactPercentile(values, q);
      const std::optional<uint64_t> estimate = histogram.PercentileNs(q);
      ASSERT_TRUE(estimate.has_value());
      EXPECT_GE(*estimate, exact);
      EXPECT_LE(static_cast<double>(*estimate), static_cast<double>(exact) * (1 + 1.0 / 256));
    }
    EXPECT_EQ(histogram.max_ns(), *std::ranges::max_element(values));
  }
}

TEST(LatencyHistogramTest, SmallValuesAreExact) {
  LatencyHistogram histogram;
  for (int i = 0; i < 512; ++i) histogram.Record(nanoseconds{i});
  EXPECT_EQ(histogram.PercentileNs(0.5), 255u);
  EXPECT_EQ(histogram.PercentileNs(0.25), 127u);
}

TEST(LatencyHistogramTest, EveryPowerOfTwoBoundaryKeepsItsBound) {
  for (int bit = 0; bit < 42; ++bit) {
    for (const int64_t offset : {-1, 0, 1}) {
      const int64_t value = std::max<int64_t>(0, (int64_t{1} << bit) + offset);
      LatencyHistogram histogram;
      histogram.Record(nanoseconds{value});
      histogram.Record(nanoseconds{int64_t{1} << 43});  // so that the percentile is not clipped to the maximum
      ASSERT_TRUE(histogram.PercentileNs(0.5).has_value());
      EXPECT_GE(*histogram.PercentileNs(0.5), static_cast<uint64_t>(value));
      EXPECT_LE(static_cast<double>(*histogram.PercentileNs(0.5)), static_cast<double>(value) * (1 + 1.0 / 256));
    }
  }
}

TEST(LatencyHistogramTest, PercentileBeyondTheSampleIsNotReported) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.PercentileNs(0.5), std::nullopt);
  for (int i = 0; i < 999; ++i) histogram.Record(nanoseconds{1000});
  EXPECT_TRUE(histogram.PercentileNs(0.99).has_value());
  EXPECT_EQ(histogram.PercentileNs(0.999), std::nullopt);
  histogram.Record(nanoseconds{1000});
  EXPECT_TRUE(histogram.PercentileNs(0.999).has_value());
}

TEST(LatencyHistogramTest, PercentileNeverExceedsTheMaximum) {
  LatencyHistogram histogram;
  for (int i = 0; i < 100; ++i) histogram.Record(nanoseconds{1000001});
  EXPECT_EQ(histogram.PercentileNs(0.99), 1000001u);
}

TEST(LatencyHistogramTest, ValuesBeyondTheRangeAreNotUnderstated) {
  LatencyHistogram histogram;
  const int64_t day = int64_t{86400} * 1000000000;
  for (int i = 0; i < 4; ++i) histogram.Record(nanoseconds{day});
  EXPECT_EQ(histogram.PercentileNs(0.5), static_cast<uint64_t>(day));
}

TEST(LatencyHistogramTest, MergingEqualsRecordingTogether) {
  LatencyHistogram one, two, both, empty;
  Random random(9);
  for (int i = 0; i < 5000; ++i) {
    const nanoseconds value{static_cast<int64_t>(random.Word() % 100000000)};
    (i % 3 == 0 ? one : two).Record(value);
    both.Record(value);
  }
  one.Merge(empty);
  empty.Merge(one);
  empty.Merge(two);
  EXPECT_EQ(empty.count(), both.count());
  EXPECT_EQ(empty.max_ns(), both.max_ns());
  EXPECT_DOUBLE_EQ(empty.sum_ns(), both.sum_ns());
  for (const double q : {0.1, 0.5, 0.9, 0.99, 0.999}) EXPECT_EQ(empty.PercentileNs(q), both.PercentileNs(q));
}

TEST(LatencyHistogramTest, NegativeDurationsCountAsZero) {
  LatencyHistogram histogram;
  histogram.Record(nanoseconds{-5});
  EXPECT_EQ(histogram.count(), 1u);
  EXPECT_EQ(histogram.max_ns(), 0u);
}

}  // namespace
}  // namespace polarkv::load
