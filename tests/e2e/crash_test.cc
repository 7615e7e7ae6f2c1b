// kill -9 in the middle of the load, again and again: blocks may be lost, wrong bytes never come back.
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/client_over_server.h"
#include "tests/testing/eventually.h"

namespace polarkv::testing {
namespace {

constexpr milliseconds kCallDeadline{1000};

struct Tally {
  std::atomic<uint64_t> stored{0}, fetched{0}, missing{0}, failed_calls{0}, wrong{0};
};

// Stores chains and fetches them back until told to stop; counts every byte string that is not what its key stands for.
void Worker(const std::string& target, const std::vector<BlockChain>& chains, uint32_t seed, std::atomic<bool>& stop,
            Tally& tally) {
  const std::unique_ptr<KvClient> client = Connect(target);
  std::minstd_rand random(seed);
  while (!stop) {
    const BlockChain& chain = chains[random() % chains.size()];
    const absl::StatusOr<std::vector<StoreOutcome>> outcomes = StoreChain(*client, chain, kCallDeadline);
    tally.stored += outcomes.ok() ? outcomes->size() : 0;
    tally.failed_calls += outcomes.ok() ? 0 : 1;
    if (outcomes.ok()) {
      for (const StoreOutcome outcome : *outcomes) {
        // A conflict would mean that the server holds other bytes under the key.
        if (outcome != StoreOutcome::kStored && outcome != StoreOutcome::kDuplicate) ++tally.wrong;
      }
    }
    const BlockChain& wanted = chains[random() % chains.size()];
    FetchBuffers buffers(wanted.keys.size(), FetchBytes(wanted.ns.descriptor).value());
    const absl::Status status = client->Fetch(wanted.ns, wanted.keys, {}, buffers.slots, 0, kCallDeadline);
    tally.failed_calls += status.ok() ? 0 : 1;
    for (size_t i = 0; i < buffers.slots.size(); ++i) {
      switch (buffers.slots[i].outcome) {
        case FetchOutcome::kOk:
          ++tally.fetched;
          if (!SpanEquals(buffers.slots[i].view[0].bytes(), wanted.blocks[i])) ++tally.wrong;
          break;
        case FetchOutcome::kNotFound:
        case FetchOutcome::kNotReceived:
          ++tally.missing;
          break;
        default:
          // Bytes that fail their checks must not even leave the server.
          ADD_FAILURE() << FetchOutcomeName(buffers.slots[i].outcome) << ": " << buffers.slots[i].message;
          ++tally.wrong;
      }
    }
  }
}

TEST(Crash, KilledUnderLoadTheServerNeverGivesWrongBytes) {
  const TempDir data;
  ServerProcess server({"--data-dir", data.path(), "--memory-budget", "4MiB", "--disk-budget", "12MiB"});
  // Three times what the disk holds: eviction, reuse of space and promotion go on all the time.
  std::vector<BlockChain> chains;
  for (uint32_t seed = 0; seed < 120; ++seed) chains.emplace_back(SmallDescriptor(), 10, 1000 + seed);
  Tally tally;
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
  for (uint32_t w = 0; w < 3; ++w) {
    workers.emplace_back([&, w] { Worker(server.target(), chains, 7 + w, stop, tally); });
  }
  std::minstd_rand random(99);
  for (int crash = 0; crash < 6; ++crash) {
    std::this_thread::sleep_for(milliseconds(400 + random() % 500));
    server.Kill();
    std::this_thread::sleep_for(milliseconds(random() % 100));
    server.Start();
  }
  // After the last crash the load goes on and succeeds.
  const uint64_t before = tally.fetched;
  EXPECT_TRUE(Eventually([&] { return tally.fetched >= before + 50; }));
  stop = true;
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(tally.wrong, 0u) << server.Log();
  EXPECT_EQ(server.Terminate(), 0) << server.Log();
  RecordProperty("stored", static_cast<int>(tally.stored));
  RecordProperty("fetched", static_cast<int>(tally.fetched));
  RecordProperty("missing", static_cast<int>(tally.missing));
  RecordProperty("failed_calls", static_cast<int>(tally.failed_calls));
}

TEST(Crash, WhatWasOnDiskBeforeTheKillIsServedAfterIt) {
  const TempDir data;
  ClientOverServer over({"--data-dir", data.path()});
  const BlockChain early(SmallDescriptor(), 20, 80), late(SmallDescriptor(), 20, 81);
  ASSERT_TRUE(StoreChain(*over.client, early).ok());
  ASSERT_EQ(over.server.Terminate(), 0);
  over.server.Start();
  ASSERT_TRUE(StoreChain(*over.client, late).ok());
  over.server.Kill();
  over.server.Start();
  for (const BlockChain* chain : {&early, &late}) {
    FetchBuffers buffers(20, FetchBytes(SmallDescriptor()).value());
    const absl::Status status = over->Fetch(chain->ns, chain->keys, {}, buffers.slots);
    ASSERT_TRUE(status.ok()) << status;
    for (size_t i = 0; i < 20; ++i) {
      if (chain == &early || buffers.slots[i].outcome == FetchOutcome::kOk) {
        ASSERT_EQ(buffers.slots[i].outcome, FetchOutcome::kOk) << buffers.slots[i].message;
        EXPECT_TRUE(SpanEquals(buffers.slots[i].view[0].bytes(), chain->blocks[i]));
      } else {
        EXPECT_EQ(buffers.slots[i].outcome, FetchOutcome::kNotFound);
      }
    }
  }
}

}  // namespace
}  // namespace polarkv::testing
