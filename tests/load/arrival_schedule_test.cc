#include "client/load/arrival_schedule.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using ::testing::Each;
using ::testing::ElementsAre;

Workload At(std::vector<double> seconds) {
  Workload workload;
  for (const double arrival : seconds) {
    workload.requests.emplace_back();
    workload.requests.back().arrival_s = arrival;
  }
  return workload;
}

TEST(ArrivalScheduleTest, StartsWithTheFirstArrivalAndKeepsTheGaps) {
  const auto starts = IntendedStarts(At({10, 10.5, 12}), {});
  ASSERT_TRUE(starts.ok());
  EXPECT_THAT(*starts, ElementsAre(milliseconds{0}, milliseconds{500}, milliseconds{2000}));
}

TEST(ArrivalScheduleTest, TimeScaleDividesTheGaps) {
  const auto starts = IntendedStarts(At({0, 1, 4}), {.time_scale = 4});
  ASSERT_TRUE(starts.ok());
  EXPECT_THAT(*starts, ElementsAre(milliseconds{0}, milliseconds{250}, milliseconds{1000}));
}

TEST(ArrivalScheduleTest, MaxRateSpreadsBurstsAndThenCatchesUp) {
  const auto starts = IntendedStarts(At({0, 0, 0, 1, 1}), {.max_rate = 4});
  ASSERT_TRUE(starts.ok());
  EXPECT_THAT(*starts, ElementsAre(milliseconds{0}, milliseconds{250}, milliseconds{500}, milliseconds{1000},
                                   milliseconds{1250}));
}

TEST(ArrivalScheduleTest, AsFastAsPossibleHasNoSchedule) {
  const auto starts = IntendedStarts(At({0, 5, 9}), {.as_fast_as_possible = true});
  ASSERT_TRUE(starts.ok());
  EXPECT_THAT(*starts, Each(nanoseconds{0}));
}

TEST(ArrivalScheduleTest, RefusesScalesAndRatesOutOfRange) {
  for (const double scale :
       {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(IntendedStarts(At({0}), {.time_scale = scale}).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(IntendedStarts(At({0}), {.max_rate = -1}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace polarkv::load
