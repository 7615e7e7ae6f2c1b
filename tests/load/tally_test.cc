#include "client/load/tally.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

using std::chrono::milliseconds;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(TallyTest, LatencyFromTheIntendedStartHoldsTheDelay) {
  OperationTally operation;
  operation.Record(milliseconds{2}, milliseconds{500});
  EXPECT_EQ(operation.service.max_ns(), 2000000u);
  EXPECT_EQ(operation.from_intended.max_ns(), 502000000u);
}

TEST(TallyTest, MergeAddsEverything) {
  Tally one, two;
  one.requests = 1, two.requests = 2;
  one.hit_blocks = 3, two.hit_blocks = 4;
  one.miss_blocks = {{"evicted", 1}, {"not stored", 2}};
  two.miss_blocks = {{"evicted", 5}};
  one.errors = {{"match UNAVAILABLE", 1}};
  two.errors = {{"match UNAVAILABLE", 1}, {"store UNAVAILABLE", 7}};
  two.verification_failures = {{"fetched bytes", 2}};
  two.match.Record(milliseconds{1}, milliseconds{0});
  one.attention.worst_kernel_error = 1e-5, two.attention.worst_kernel_error = 1e-6;
  one.Merge(two);
  EXPECT_EQ(one.requests, 3u);
  EXPECT_EQ(one.hit_blocks, 7u);
  EXPECT_THAT(one.miss_blocks, UnorderedElementsAre(Pair("evicted", 6), Pair("not stored", 2)));
  EXPECT_EQ(one.TotalErrors(), 9u);
  EXPECT_EQ(one.TotalVerificationFailures(), 2u);
  EXPECT_EQ(one.match.service.count(), 1u);
  EXPECT_EQ(one.attention.worst_kernel_error, 1e-5);
}

}  // namespace
}  // namespace polarkv::load
