// The same client before, during and after a restart of the server.
#include <signal.h>

#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/client_over_server.h"

namespace polarkv::testing {
namespace {

using ::testing::Each;

void ExpectAllGood(KvClient& client, const BlockChain& chain) {
  FetchBuffers buffers(chain.keys.size(), FetchBytes(chain.ns.descriptor).value());
  const absl::Status status = client.Fetch(chain.ns, chain.keys, {}, buffers.slots);
  ASSERT_TRUE(status.ok()) << status;
  for (size_t i = 0; i < chain.keys.size(); ++i) {
    ASSERT_EQ(buffers.slots[i].outcome, FetchOutcome::kOk) << i << " " << buffers.slots[i].message;
    EXPECT_TRUE(SpanEquals(buffers.slots[i].view[0].bytes(), chain.blocks[i])) << i;
  }
}

TEST(Restart, AfterSigtermEveryBlockIsStillThere) {
  const TempDir data;
  ClientOverServer over({"--data-dir", data.path(), "--disk-budget", "1GiB"});
  const BlockChain chain(SmallDescriptor(), 40, 70);
  ASSERT_THAT(StoreChain(*over.client, chain).value(), Each(StoreOutcome::kStored));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(over.server.Terminate(), 0) << over.server.Log();
    over.server.Start();
    EXPECT_EQ(over->Match(chain.ns, chain.keys)->stop, MatchStop::kAllMatched);
    ExpectAllGood(*over.client, chain);
  }
  EXPECT_THAT(StoreChain(*over.client, chain).value(), Each(StoreOutcome::kDuplicate));
}

TEST(Restart, AMemoryOnlyServerComesBackEmptyAndTheClientOpensItsNamespaceAgain) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 5, 71);
  ASSERT_TRUE(over->OpenNamespace(SmallDescriptor()).ok());
  ASSERT_THAT(StoreChain(*over.client, chain).value(), Each(StoreOutcome::kStored));
  over.server.Kill();
  over.server.Start();
  EXPECT_EQ(over->Match(chain.ns, chain.keys)->matched_blocks, 0u);
  EXPECT_THAT(over->Exists(chain.ns, chain.keys).value(), Each(false));
  EXPECT_THAT(StoreChain(*over.client, chain).value(), Each(StoreOutcome::kStored));
  ExpectAllGood(*over.client, chain);
}

TEST(Restart, ACallWaitsForAServerThatComesBackInTime) {
  const TempDir data;
  ClientOverServer over({"--data-dir", data.path()});
  const BlockChain chain(SmallDescriptor(), 3, 72);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  ASSERT_EQ(over.server.Terminate(), 0);
  std::thread fetch([&] { ExpectAllGood(*over.client, chain); });
  std::this_thread::sleep_for(milliseconds(300));
  over.server.Start();
  fetch.join();
}

TEST(Restart, ADeadServerCostsNoMoreThanTheDeadline) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 1, 73);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  over.server.Kill();
  const auto start = std::chrono::steady_clock::now();
  FetchBuffers buffers(1, FetchBytes(SmallDescriptor()).value());
  EXPECT_FALSE(over->Fetch(chain.ns, chain.keys, {}, buffers.slots, 0, milliseconds(300)).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(15000));
  EXPECT_EQ(buffers.slots[0].outcome, FetchOutcome::kNotReceived);
}

TEST(Restart, AStoppedServerCostsNoMoreThanTheDeadlineAndServesAgainAfter) {
  ClientOverServer over;
  const BlockChain chain(SmallDescriptor(), 2, 74);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  over.server.Signal(SIGSTOP);  // its connections stay open and silent
  const auto start = std::chrono::steady_clock::now();
  FetchBuffers buffers(2, FetchBytes(SmallDescriptor()).value());
  EXPECT_EQ(over->Fetch(chain.ns, chain.keys, {}, buffers.slots, 0, milliseconds(300)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(15000));
  over.server.Signal(SIGCONT);
  ExpectAllGood(*over.client, chain);
}

TEST(Restart, AStreamUnderWayEndsBeforeTheServerDoes) {
  // SIGTERM while a client fetches in a loop: what it gets is whole blocks or a status, and the server exits with 0.
  const TempDir data;
  ClientOverServer over({"--data-dir", data.path()});
  const BlockChain chain(SmallDescriptor(), 30, 75);
  ASSERT_TRUE(StoreChain(*over.client, chain).ok());
  std::atomic<bool> stop{false};
  std::atomic<int> good{0};
  std::thread reader([&] {
    while (!stop) {
      FetchBuffers buffers(chain.keys.size(), FetchBytes(chain.ns.descriptor).value());
      over->Fetch(chain.ns, chain.keys, {}, buffers.slots, 0, milliseconds(3000)).IgnoreError();
      for (size_t i = 0; i < buffers.slots.size(); ++i) {
        if (buffers.slots[i].outcome != FetchOutcome::kOk) continue;
        EXPECT_TRUE(SpanEquals(buffers.slots[i].view[0].bytes(), chain.blocks[i]));
        ++good;
      }
    }
  });
  while (good < 60) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQ(over.server.Terminate(), 0) << over.server.Log();
  stop = true;
  reader.join();
}

}  // namespace
}  // namespace polarkv::testing
