// The client's small parts, each alone.
#include <chrono>

#include "client/backoff.h"
#include "client/call_deadline.h"
#include "client/lease_groups.h"
#include "client/namespace_table.h"
#include "codec/block_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(CallDeadline, CountsDownAndNeverBelowZero) {
  EXPECT_TRUE(CallDeadline(milliseconds(0)).Expired());
  EXPECT_TRUE(CallDeadline(milliseconds(-5)).Expired());
  EXPECT_EQ(CallDeadline(milliseconds::min()).Remaining().count(), 0);
  const CallDeadline deadline(milliseconds(60000));
  EXPECT_FALSE(deadline.Expired());
  EXPECT_LE(deadline.Remaining(), milliseconds(60000));
  EXPECT_GT(deadline.Remaining(), milliseconds(30000));
}

TEST(CallDeadline, ABudgetThatOverflowsTheClockIsADay) {
  EXPECT_LE(CallDeadline(milliseconds::max()).Remaining(), std::chrono::hours(24));
  EXPECT_GT(CallDeadline(milliseconds::max()).Remaining(), std::chrono::hours(23));
}

TEST(Backoff, DoublesUpToTheMaximumWithJitter) {
  Backoff backoff(milliseconds(10), milliseconds(50));
  nanoseconds expected = milliseconds(10);
  for (int i = 0; i < 8; ++i) {
    const auto delay = backoff.NextDelay(std::chrono::hours(1));
    ASSERT_TRUE(delay.has_value());
    EXPECT_GE(*delay, expected / 2) << i;
    EXPECT_LE(*delay, expected) << i;
    expected = std::min<nanoseconds>(expected * 2, milliseconds(50));
  }
}

TEST(Backoff, TwoCallsDoNotWaitInStep) {
  int same = 0;
  for (int i = 0; i < 20; ++i) {
    Backoff a(milliseconds(1000), milliseconds(1000)), b(milliseconds(1000), milliseconds(1000));
    same += a.NextDelay(std::chrono::hours(1)) == b.NextDelay(std::chrono::hours(1)) ? 1 : 0;
  }
  EXPECT_LT(same, 5);
}

TEST(Backoff, TakesOneLastChanceBeforeTheDeadline) {
  Backoff backoff(milliseconds(100), milliseconds(100));
  EXPECT_EQ(backoff.NextDelay(milliseconds(20)), milliseconds(10));
  EXPECT_EQ(backoff.NextDelay(milliseconds(10)), std::nullopt);
  Backoff late(milliseconds(100), milliseconds(100));
  EXPECT_EQ(late.NextDelay(nanoseconds(0)), std::nullopt);
}

TEST(Backoff, OnlyLossesOfTheServerAreTransient) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "");
    const bool transient =
        status.code() == absl::StatusCode::kUnavailable || status.code() == absl::StatusCode::kCancelled;
    EXPECT_EQ(IsTransient(status), transient) << status;
  }
}

TEST(NodeLimits, ComeFromTheServerWithinTheClientsOwn) {
  v1::OpenNamespaceResponse response;
  const NodeLimits own = NodeLimits::From(response, 1000);
  EXPECT_EQ(own, (NodeLimits{.block_bytes = kMaxBlockBytes, .keys_per_request = 16384, .frame_bytes = 1000}));
  response.set_max_block_bytes(~uint64_t{0});
  response.set_max_keys_per_request(0xFFFFFFFF);
  response.set_max_frame_bytes(0xFFFFFFFF);
  EXPECT_EQ(NodeLimits::From(response, 1000), own);
  response.set_max_block_bytes(1);
  response.set_max_keys_per_request(2);
  response.set_max_frame_bytes(3);
  EXPECT_EQ(NodeLimits::From(response, 1000), (NodeLimits{.block_bytes = 1, .keys_per_request = 2, .frame_bytes = 3}));
}

TEST(NamespaceTable, ForgetsOneNamespaceAndKeepsTheOther) {
  NamespaceTable table;
  Fingerprint a{}, b{};
  b[31] = 1;
  EXPECT_EQ(table.Find(a), std::nullopt);
  table.Remember(a, {1, 2, 3});
  table.Remember(b, {4, 5, 6});
  table.Remember(a, {7, 8, 9});
  EXPECT_EQ(table.Find(a), (NodeLimits{7, 8, 9}));
  table.Forget(a);
  table.Forget(a);
  EXPECT_EQ(table.Find(a), std::nullopt);
  EXPECT_EQ(table.Find(b), (NodeLimits{4, 5, 6}));
}

TEST(LeaseGroups, HandOutTheirOthersOnce) {
  LeaseGroups groups;
  groups.Add(1, {2, 3}, std::chrono::hours(1));
  groups.Add(4, {}, std::chrono::hours(1));
  EXPECT_THAT(groups.TakeOthers(4), IsEmpty());
  EXPECT_THAT(groups.TakeOthers(1), ElementsAre(2, 3));
  EXPECT_THAT(groups.TakeOthers(1), IsEmpty());
}

TEST(LeaseGroups, DoNotPileUpWhenNobodyReleasesThem) {
  LeaseGroups groups;
  groups.Add(1, {2}, milliseconds(0));
  groups.Add(3, {4}, std::chrono::hours(1));
  EXPECT_THAT(groups.TakeOthers(1), IsEmpty());
  EXPECT_THAT(groups.TakeOthers(3), ElementsAre(4));
}

}  // namespace
}  // namespace polarkv
