#include "client/load/replay.h"

#include <latch>
#include <thread>

#include "client/load/arrival_schedule.h"
#include "client/load/session_generator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/load/load_fixture.h"

namespace polarkv::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

ReplayState Play(LoadFixture& fixture, const Workload& workload, const std::vector<nanoseconds>& starts,
                 const ReplayOptions& options) {
  const ReusePlan plan(workload, fixture.keys);
  Replay replay(workload, plan, starts, fixture.context, fixture.options, options);
  replay.Start();
  EXPECT_TRUE(replay.WaitFor(seconds{120}));
  return replay.state();
}

Workload Sessions(const char* kind, uint64_t sessions) {
  SessionShape shape = *NamedSessionShape(kind);
  shape.sessions = sessions;
  shape.shared_tokens = 700;
  shape.turns = 5;  // small enough for the sanitizers
  shape.document_tokens = std::min(shape.document_tokens, 1000u);
  return *GenerateSessions(kind, shape);
}

TEST(ReplayTest, OrderedThreadsReachTheIdealHitRatio) {
  for (const char* kind : {"chat", "agent", "document"}) {
    LoadFixture fixture;
    // Slow enough that requests overlap all the time.
    fixture.cache.before_match = [](std::span<const BlockKey>) { std::this_thread::sleep_for(milliseconds{1}); };
    const Workload workload = Sessions(kind, 8);
    const ReplayState state = Play(fixture, workload, std::vector<nanoseconds>(workload.requests.size()),
                                   {.threads = 8, .ordered = true, .open_loop = false});
    EXPECT_EQ(state.tally.requests, workload.requests.size());
    EXPECT_GT(state.tally.ideal_blocks, 0u);
    EXPECT_EQ(state.tally.hit_blocks, state.tally.ideal_blocks) << kind;
    EXPECT_EQ(state.tally.store_outcomes.count("duplicate"), 0u) << kind;
    EXPECT_EQ(state.tally.TotalVerificationFailures(), 0u);
    EXPECT_FALSE(state.stopped);
  }
}

TEST(ReplayTest, OneThreadReachesTheIdealHitRatio) {
  LoadFixture fixture;
  const Workload workload = Sessions("chat", 10);
  const ReplayState state =
      Play(fixture, workload, std::vector<nanoseconds>(workload.requests.size()), {.threads = 1, .open_loop = false});
  EXPECT_EQ(state.tally.hit_blocks, state.tally.ideal_blocks);
}

TEST(ReplayTest, UnorderedOverlapIsNamedAsTheReason) {
  LoadFixture fixture;
  // Eight times the same prompt, and nobody stores before everybody has looked.
  std::latch all_missed(8);
  fixture.cache.store_status = [&all_missed] {
    all_missed.arrive_and_wait();
    return absl::OkStatus();
  };
  const Workload workload = Prompts(std::vector<std::vector<Segment>>(8, {{1, 640}}));
  const ReplayState state =
      Play(fixture, workload, std::vector<nanoseconds>(8), {.threads = 8, .ordered = false, .open_loop = false});
  EXPECT_EQ(state.tally.ideal_blocks, 70u);
  EXPECT_EQ(state.tally.hit_blocks, 0u);
  EXPECT_EQ(state.tally.miss_blocks.at("overlapping request"), 70u);
  EXPECT_EQ(state.tally.stored_blocks, 10u);
}

// One slow answer holds up all requests behind it: each of them has waited, and each must say so.
TEST(ReplayTest, StallShowsInEveryRequestThatItHeldBack) {
  LoadFixture fixture;
  int matches = 0;
  fixture.cache.before_match = [&](std::span<const BlockKey>) {
    if (++matches == 1) std::this_thread::sleep_for(milliseconds{400});
  };
  const Workload workload = Prompts(std::vector<std::vector<Segment>>(20, {{1, 64}}));
  std::vector<nanoseconds> starts;
  for (int i = 0; i < 20; ++i) starts.push_back(milliseconds{10 * i});
  const ReplayState state = Play(fixture, workload, starts, {.threads = 1});
  // Request i was due at 10 i ms and could not start before 400 ms: the median waited 300 ms, the calls alone took
  // none.
  EXPECT_GE(*state.tally.match.from_intended.PercentileNs(0.5), 290000000u);
  EXPECT_LT(*state.tally.match.service.PercentileNs(0.5), 100000000u);
}

TEST(ReplayTest, KeepsToTheSchedule) {
  LoadFixture fixture;
  const Workload workload = Prompts(std::vector<std::vector<Segment>>(5, {{1, 64}}));
  std::vector<nanoseconds> starts;
  for (int i = 0; i < 5; ++i) starts.push_back(milliseconds{50 * i});
  const ReplayState state = Play(fixture, workload, starts, {.threads = 2});
  EXPECT_GE(state.elapsed, milliseconds{200});
}

TEST(ReplayTest, DurationEndsTheRunAndCountsWhatWasOverdue) {
  LoadFixture fixture;
  fixture.cache.before_match = [](std::span<const BlockKey>) { std::this_thread::sleep_for(milliseconds{50}); };
  const Workload workload = Prompts(std::vector<std::vector<Segment>>(100, {{1, 64}}));
  std::vector<nanoseconds> starts;
  for (int i = 0; i < 100; ++i) starts.push_back(milliseconds{2 * i});
  const ReplayState state = Play(fixture, workload, starts, {.threads = 1, .duration = milliseconds{150}});
  EXPECT_LT(state.elapsed, seconds{10});
  // 76 were due within 150 ms; at 50 ms each only a few of them could start.
  EXPECT_LE(state.started, 4u);
  EXPECT_EQ(state.overdue, 76 - state.started);
  EXPECT_EQ(state.tally.requests, state.started);
}

TEST(ReplayTest, StopEndsTheRunAndKeepsWhatWasCounted) {
  LoadFixture fixture;
  const Workload workload = Prompts(std::vector<std::vector<Segment>>(3, {{1, 64}}));
  const std::vector<nanoseconds> starts{nanoseconds{0}, seconds{3600}, seconds{3600}};
  const ReusePlan plan(workload, fixture.keys);
  Replay replay(workload, plan, starts, fixture.context, fixture.options, {.threads = 2, .ordered = true});
  replay.Start();
  while (replay.state().tally.requests == 0) std::this_thread::sleep_for(milliseconds{1});
  EXPECT_FALSE(replay.WaitFor(milliseconds{10}));
  replay.Stop();
  EXPECT_TRUE(replay.WaitFor(seconds{20}));
  EXPECT_TRUE(replay.state().stopped);
  EXPECT_EQ(replay.state().tally.requests, 1u);
  EXPECT_EQ(replay.state().overdue, 0u);
}

}  // namespace
}  // namespace polarkv::load
