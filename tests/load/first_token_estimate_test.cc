#include "client/load/first_token_estimate.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

using std::chrono::nanoseconds;

ComputeAssumptions Simple() {
  ComputeAssumptions compute;
  compute.model.flops_per_token = 1000;
  compute.model.flops_per_token_pair = 10;
  compute.sustained_flops = 1e6;
  return compute;
}

TEST(FirstTokenEstimateTest, PrefillIsWeightsTimesTokensPlusPairs) {
  // 4 tokens: 4000 + 10 * (1 + 2 + 3 + 4) = 4100 flop at 1e6 a second.
  EXPECT_EQ(PrefillTime(Simple(), 4, 0), nanoseconds{4100000});
}

TEST(FirstTokenEstimateTest, CachedTokensAreStillAttendedTo) {
  // Tokens 2 and 3 attend to 3 and 4 tokens.
  EXPECT_EQ(PrefillTime(Simple(), 4, 2), nanoseconds{2070000});
  EXPECT_EQ(PrefillTime(Simple(), 4, 4), nanoseconds{0});
  EXPECT_EQ(PrefillTime(Simple(), 4, 9), nanoseconds{0});
}

TEST(FirstTokenEstimateTest, ScaledGeometryIsChargedForWhatItDidNotShip) {
  ComputeAssumptions compute = Simple();
  compute.full_bytes_per_token = 1000;
  compute.stored_bytes_per_token = 250;
  compute.transfer_bytes_per_s = 1e6;
  EXPECT_EQ(UnmeasuredTransfer(compute, 100), nanoseconds{75000000});
  compute.stored_bytes_per_token = 1000;
  EXPECT_EQ(UnmeasuredTransfer(compute, 100), nanoseconds{0});
}

}  // namespace
}  // namespace polarkv::load
