#include "client/load/request_runner.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/load/load_fixture.h"

namespace polarkv::load {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// A prompt of six blocks, then one that shares four of them, then the first again.
Workload Conversation() { return Prompts({{{1, 384}, {2, 10}}, {{1, 256}, {3, 150}}, {{1, 384}, {2, 10}}}); }

TEST(RequestRunnerTest, PlaysToTheIdeal) {
  LoadFixture fixture;
  const Tally tally = fixture.Play(Conversation());
  EXPECT_EQ(tally.requests, 3u);
  EXPECT_EQ(tally.full_blocks, 6u + 6 + 6);
  EXPECT_EQ(tally.block_references, 7u + 7 + 7);
  EXPECT_EQ(tally.ideal_blocks, 0u + 4 + 6);
  EXPECT_EQ(tally.hit_blocks, tally.ideal_blocks);
  EXPECT_EQ(tally.fetched_blocks, 10u);
  // The first block of a sequence holds raw tokens besides: one of the eight stored, two of the ten fetched.
  const uint64_t plain = BlockBytes(fixture.descriptor);
  EXPECT_GT(tally.stored_bytes, 8 * plain);
  EXPECT_EQ(tally.fetched_bytes - 10 * plain, 2 * (tally.stored_bytes - 8 * plain));
  EXPECT_EQ(tally.stored_blocks, 8u);
  EXPECT_THAT(tally.miss_blocks, UnorderedElementsAre(Pair("first reference", 8)));
  EXPECT_THAT(tally.verification_failures, IsEmpty());
  EXPECT_THAT(tally.errors, IsEmpty());
  EXPECT_EQ(fixture.cache.blocks(), 8u);
  EXPECT_EQ(fixture.cache.orphans(), 0u);
  EXPECT_EQ(fixture.cache.open_leases(), 0u);
  EXPECT_EQ(tally.match.service.count(), 3u);
  EXPECT_EQ(tally.fetch.service.count(), 2u);
  EXPECT_EQ(tally.store.service.count(), 2u);
}

TEST(RequestRunnerTest, SmallWindowsChangeNothing) {
  LoadFixture fixture;
  fixture.options.window_bytes = 1;  // one block at a time
  fixture.options.attend = true;
  const Tally tally = fixture.Play(Conversation());
  EXPECT_EQ(tally.hit_blocks, 10u);
  EXPECT_EQ(tally.fetch.calls, 10u);
  EXPECT_EQ(tally.store.calls, 8u);
  EXPECT_EQ(tally.fetch.service.count(), 2u) << "latency is that of a request's whole fetch";
  EXPECT_EQ(tally.attention.checked, 2u);
  EXPECT_THAT(tally.verification_failures, IsEmpty());
  EXPECT_EQ(fixture.cache.open_leases(), 0u);
  EXPECT_EQ(fixture.cache.orphans(), 0u);
}

TEST(RequestRunnerTest, AttendsOnEachFetchedPrefix) {
  LoadFixture fixture;
  fixture.options.attend = true;
  const Tally tally = fixture.Play(Conversation());
  EXPECT_EQ(tally.attention.prefixes, 2u);
  EXPECT_EQ(tally.attention.tokens, 640u);
  EXPECT_EQ(tally.attention.checked, 2u);
  EXPECT_LT(tally.attention.worst_kernel_error, kAttentionTolerance);
  EXPECT_THAT(tally.verification_failures, IsEmpty());
}

TEST(RequestRunnerTest, FlippedBitIsAVerificationFailureAndAMiss) {
  LoadFixture fixture;
  int fetched = 0;
  fixture.cache.on_fetch = [&](const BlockKey&, std::vector<uint8_t>& bytes) {
    if (++fetched == 3) bytes.back() ^= 1;
  };
  const Tally tally = fixture.Play(Conversation());
  EXPECT_THAT(tally.verification_failures, UnorderedElementsAre(Pair("fetched bytes", 1)));
  ASSERT_EQ(fixture.failures.size(), 1u);
  EXPECT_THAT(std::string(fixture.failures[0].message()), HasSubstr("differs from its content at byte"));
  EXPECT_EQ(tally.hit_blocks, 2u + 6);
  EXPECT_THAT(tally.miss_blocks, UnorderedElementsAre(Pair("first reference", 8), Pair("wrong bytes", 2)));
}

TEST(RequestRunnerTest, BlockOfAnotherKeyIsAVerificationFailure) {
  LoadFixture fixture;
  const Workload workload = Conversation();
  const std::vector<uint8_t> other = *fixture.verifier.content().Encode(fixture.keys.Keys(workload.requests[0])[5], 5);
  fixture.cache.on_fetch = [&](const BlockKey&, std::vector<uint8_t>& bytes) { bytes = other; };
  EXPECT_EQ(fixture.Play(workload).TotalVerificationFailures(), 2u);
}

TEST(RequestRunnerTest, BlockOfAnotherSizeIsAVerificationFailure) {
  LoadFixture fixture;
  const uint64_t room = fixture.options.block_bytes;
  fixture.cache.on_fetch = [room](const BlockKey&, std::vector<uint8_t>& bytes) { bytes.resize(room + 64); };
  EXPECT_THAT(fixture.Play(Conversation()).verification_failures, UnorderedElementsAre(Pair("fetched size", 2)));
}

TEST(RequestRunnerTest, ConflictIsAVerificationFailure) {
  LoadFixture fixture;
  fixture.cache.store_outcome = [](const StoreItem&) { return StoreOutcome::kConflict; };
  const Tally tally = fixture.Play(Prompts({{{1, 128}}}));
  EXPECT_THAT(tally.verification_failures, UnorderedElementsAre(Pair("store conflict", 2)));
  EXPECT_EQ(tally.stored_blocks, 0u);
}

TEST(RequestRunnerTest, RefusedBlocksAreErrorsByKind) {
  LoadFixture fixture;
  fixture.cache.store_outcome = [](const StoreItem&) { return StoreOutcome::kNoSpace; };
  const Tally tally = fixture.Play(Prompts({{{1, 128}}}));
  EXPECT_THAT(tally.errors, UnorderedElementsAre(Pair("stored block: no space", 2)));
  EXPECT_THAT(tally.verification_failures, IsEmpty());
}

TEST(RequestRunnerTest, ServerThatIsDownMakesMissesAndErrorsOnly) {
  LoadFixture fixture;
  const auto down = [] { return absl::UnavailableError("down"); };
  fixture.cache.match_status = fixture.cache.store_status = down;
  const Tally tally = fixture.Play(Conversation());
  EXPECT_EQ(tally.requests, 3u);
  EXPECT_EQ(tally.hit_blocks, 0u);
  EXPECT_THAT(tally.errors, UnorderedElementsAre(Pair("match UNAVAILABLE", 3), Pair("store UNAVAILABLE", 3)));
  EXPECT_THAT(tally.miss_blocks, UnorderedElementsAre(Pair("first reference", 8), Pair("match UNAVAILABLE", 10)));
  EXPECT_THAT(tally.verification_failures, IsEmpty());
  EXPECT_EQ(tally.match.service.count(), 3u) << "failed calls have a latency too";
}

TEST(RequestRunnerTest, FailedFetchIsAMissAndGivesTheLeaseBack) {
  LoadFixture fixture;
  fixture.options.window_bytes = 1;
  fixture.cache.fetch_status = [] { return absl::DeadlineExceededError("slow"); };
  const Tally tally = fixture.Play(Conversation());
  EXPECT_EQ(tally.hit_blocks, 0u);
  EXPECT_THAT(tally.errors, UnorderedElementsAre(Pair("fetch DEADLINE_EXCEEDED", 2)));
  EXPECT_THAT(tally.miss_blocks, UnorderedElementsAre(Pair("first reference", 8), Pair("fetch DEADLINE_EXCEEDED", 10)));
  EXPECT_EQ(fixture.cache.open_leases(), 0u);
}

TEST(RequestRunnerTest, MissReasonIsTheServersWhenNobodyElseIsStoring) {
  LoadFixture fixture;
  fixture.cache.stop = MatchStop::kEvicted;
  const Workload workload = Conversation();
  const BlockKey gone = fixture.keys.Keys(workload.requests[0])[1];
  int matches = 0;
  fixture.cache.before_match = [&](std::span<const BlockKey>) {
    if (++matches == 2) fixture.cache.Erase(gone);
  };
  const Tally tally = fixture.Play(workload);
  EXPECT_EQ(tally.miss_blocks.at(MatchStopName(MatchStop::kEvicted)), 3u);
  EXPECT_EQ(tally.hit_blocks, 1u + 6);
}

TEST(RequestRunnerTest, MissBehindAnUnfinishedRequestIsOverlap) {
  LoadFixture fixture;
  fixture.cache.store_status = [] { return absl::UnavailableError("not yet"); };
  fixture.context.finished = [](uint32_t) { return false; };
  const Tally tally = fixture.Play(Conversation());
  EXPECT_THAT(tally.miss_blocks, UnorderedElementsAre(Pair("first reference", 8), Pair("overlapping request", 10)));
}

TEST(RequestRunnerTest, FetchOutcomesEndThePrefix) {
  LoadFixture fixture;
  fixture.cache.fetch_outcome = [](size_t slot) { return slot == 3 ? FetchOutcome::kCorrupt : FetchOutcome::kOk; };
  const Tally tally = fixture.Play(Conversation());
  EXPECT_EQ(tally.hit_blocks, 3u + 3);
  EXPECT_EQ(tally.fetch_outcomes.at(FetchOutcomeName(FetchOutcome::kCorrupt)), 2u);
  EXPECT_THAT(tally.verification_failures, IsEmpty()) << "corruption that was noticed is no wrong byte";
}

TEST(RequestRunnerTest, HitsOfAnEarlierRunAreBeyondTheIdeal) {
  LoadFixture fixture;
  fixture.Play(Conversation());
  const Tally again = fixture.Play(Conversation());
  EXPECT_EQ(again.hit_blocks, 18u);
  EXPECT_EQ(again.hit_blocks_beyond_ideal, 8u);
  EXPECT_THAT(again.miss_blocks, IsEmpty());
}

TEST(RequestRunnerTest, PromptBelowABlockMakesNoCall) {
  LoadFixture fixture;
  const Tally tally = fixture.Play(Prompts({{{1, 63}}, {}}));
  EXPECT_EQ(tally.requests, 2u);
  EXPECT_EQ(tally.match.calls, 0u);
  EXPECT_EQ(tally.block_references, 1u);
}

TEST(RequestRunnerTest, StartDelayCountsInEveryLatency) {
  LoadFixture fixture;
  const Workload workload = Prompts({{{1, 128}}, {{1, 128}, {2, 64}}});
  const ReusePlan plan(workload, fixture.keys);
  RequestRunner runner(fixture.context, fixture.options);
  const std::chrono::seconds delay{3};
  for (size_t i = 0; i < 2; ++i) runner.Run(workload.requests[i], plan[i], i, delay);
  const Tally tally = runner.snapshot();
  for (const OperationTally* operation : {&tally.match, &tally.fetch, &tally.store}) {
    EXPECT_GE(operation->from_intended.max_ns(), 3000000000u);
    EXPECT_LT(operation->service.max_ns(), 3000000000u);
  }
  EXPECT_GE(tally.prefix_ready.max_ns(), 3000000000u);
  EXPECT_EQ(tally.start_delay.max_ns(), 3000000000u);
}

}  // namespace
}  // namespace polarkv::load
