// What every body of BlockStore promises.
#include <algorithm>
#include <atomic>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/service/store_bodies.h"
#include "tests/service/stored_block.h"
#include "tests/testing/eventually.h"

namespace polarkv::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::Optional;

constexpr milliseconds kLongLease{60000};

class BlockStoreConformanceTest : public ::testing::TestWithParam<Body> {
 protected:
  PutOutcome Put(uint32_t chain, uint32_t index, uint32_t variant = 0, NamespaceId ns = kNs) {
    const PutItem item = ChainItem(*store_, chain, index, variant);
    return store_->Put(ns, std::span(&item, 1)).front().outcome;
  }
  void PutChain(uint32_t chain, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) ASSERT_EQ(Put(chain, i), PutOutcome::kStored) << chain << "/" << i;
  }
  absl::StatusOr<BlockBytes> Get(uint32_t chain, uint32_t index, NamespaceId ns = kNs) {
    const BlockKey key = ChainKey(chain, index);
    return store_->Get(ns, std::span(&key, 1)).front();
  }
  bool Exists(uint32_t chain, uint32_t index) {
    const BlockKey key = ChainKey(chain, index);
    return store_->Exists(kNs, std::span(&key, 1)).front();
  }
  PrefixMatchResult Match(uint32_t chain, uint32_t count, milliseconds lease = {}) {
    return store_->MatchPrefix(kNs, ChainKeys(chain, count), lease);
  }
  BlockTotals Delete(uint32_t chain, uint32_t index) {
    const BlockKey key = ChainKey(chain, index);
    return store_->Delete(kNs, std::span(&key, 1));
  }
  // Stores unrelated blocks, far more than fit.
  void Flood(uint32_t first_chain, uint32_t count = 200) {
    for (uint32_t i = 0; i < count; ++i) ASSERT_EQ(Put(first_chain + i, 0), PutOutcome::kStored) << i;
    ASSERT_TRUE(store_->Flush().ok());
  }

  OpenedStore store_{GetParam()};
};

TEST_P(BlockStoreConformanceTest, ReturnsTheBytesThatWerePut) {
  PutChain(1, 3);
  ASSERT_TRUE(store_->Flush().ok());
  for (uint32_t i = 0; i < 3; ++i) {
    const absl::StatusOr<BlockBytes> bytes = Get(1, i);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_EQ(Copy(*bytes), SealedBlock(ServiceDescriptor(), ChainKey(1, i), i));
  }
}

TEST_P(BlockStoreConformanceTest, PutsABatchAndAnswersEachBlock) {
  ASSERT_EQ(Put(1, 0), PutOutcome::kStored);
  const std::vector<PutItem> items = {ChainItem(*store_, 1, 0), ChainItem(*store_, 1, 1), ChainItem(*store_, 1, 1, 9)};
  const std::vector<PutResult> results = store_->Put(kNs, items);
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].outcome, PutOutcome::kDuplicate);
  EXPECT_EQ(results[1].outcome, PutOutcome::kStored);
  EXPECT_EQ(results[2].outcome, PutOutcome::kConflict);
}

TEST_P(BlockStoreConformanceTest, SameBytesAgainAreADuplicate) {
  ASSERT_EQ(Put(1, 0), PutOutcome::kStored);
  EXPECT_EQ(Put(1, 0), PutOutcome::kDuplicate);
  ASSERT_TRUE(store_->Flush().ok());
  EXPECT_EQ(Put(1, 0), PutOutcome::kDuplicate);
  EXPECT_EQ(store_->Usage(kNs).blocks, 1u);
}

TEST_P(BlockStoreConformanceTest, OtherBytesAreAConflictAndTheFirstStay) {
  ASSERT_EQ(Put(1, 0, 1), PutOutcome::kStored);
  EXPECT_EQ(Put(1, 0, 2), PutOutcome::kConflict);
  ASSERT_TRUE(store_->Flush().ok());
  EXPECT_EQ(Put(1, 0, 2), PutOutcome::kConflict);
  EXPECT_EQ(Copy(Get(1, 0).value()), SealedBlock(ServiceDescriptor(), ChainKey(1, 0), 0, 1));
}

TEST_P(BlockStoreConformanceTest, OneKeyInTwoNamespacesIsTwoBlocks) {
  ASSERT_EQ(Put(1, 0, 1, kNs), PutOutcome::kStored);
  ASSERT_EQ(Put(1, 0, 2, kOtherNs), PutOutcome::kStored);
  EXPECT_EQ(Copy(Get(1, 0, kNs).value()), SealedBlock(ServiceDescriptor(), ChainKey(1, 0), 0, 1));
  EXPECT_EQ(Copy(Get(1, 0, kOtherNs).value()), SealedBlock(ServiceDescriptor(), ChainKey(1, 0), 0, 2));
  EXPECT_EQ(store_->DeleteNamespace(kOtherNs).blocks, 1u);
  EXPECT_TRUE(Get(1, 0, kNs).ok());
  EXPECT_TRUE(absl::IsNotFound(Get(1, 0, kOtherNs).status()));
}

TEST_P(BlockStoreConformanceTest, AnAbsentBlockIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(Get(1, 0).status()));
  EXPECT_FALSE(Exists(1, 0));
  EXPECT_EQ(Delete(1, 0).blocks, 0u);
}

TEST_P(BlockStoreConformanceTest, MatchesAWholeChainWithSizes) {
  PutChain(1, 4);
  const PrefixMatchResult match = Match(1, 4);
  const uint64_t size = SealedBlock(ServiceDescriptor(), ChainKey(1, 0), 0).size();
  EXPECT_THAT(match.block_bytes, ElementsAre(size, size, size, size));
  EXPECT_EQ(match.stop, std::nullopt);
  EXPECT_EQ(match.lease_id, 0u);
}

TEST_P(BlockStoreConformanceTest, MatchOfNothingIsEmpty) {
  const PrefixMatchResult match = Match(1, 0, kLongLease);
  EXPECT_TRUE(match.block_bytes.empty());
  EXPECT_EQ(match.stop, std::nullopt);
  EXPECT_EQ(match.lease_id, 0u);
}

TEST_P(BlockStoreConformanceTest, MatchStopsBeforeAHole) {
  PutChain(1, 5);
  ASSERT_EQ(Delete(1, 2).blocks, 1u);
  const PrefixMatchResult match = Match(1, 5);
  EXPECT_EQ(match.block_bytes.size(), 2u);
  EXPECT_THAT(match.stop, Optional(AbsenceReason::kDeleted));
  EXPECT_TRUE(Exists(1, 4));
}

TEST_P(BlockStoreConformanceTest, MatchSaysThatABlockWasNeverStored) {
  PutChain(1, 2);
  EXPECT_THAT(Match(1, 3).stop, Optional(AbsenceReason::kNotStored));
}

TEST_P(BlockStoreConformanceTest, MatchSaysThatABlockWasEvicted) {
  PutChain(1, 1);
  Flood(100);
  ASSERT_FALSE(Exists(1, 0));
  EXPECT_THAT(Match(1, 1).stop, Optional(AbsenceReason::kEvicted));
}

TEST_P(BlockStoreConformanceTest, ABlockStoredAgainIsNotAbsentAnyMore) {
  PutChain(1, 1);
  Delete(1, 0);
  PutChain(1, 1);
  EXPECT_EQ(Match(1, 1).stop, std::nullopt);
  EXPECT_TRUE(Get(1, 0).ok());
}

TEST_P(BlockStoreConformanceTest, DeletesANamespace) {
  PutChain(1, 5);
  PutChain(2, 5);
  const BlockTotals usage = store_->Usage(kNs);
  EXPECT_EQ(usage.blocks, 10u);
  const BlockTotals deleted = store_->DeleteNamespace(kNs);
  EXPECT_EQ(deleted.blocks, usage.blocks);
  EXPECT_EQ(deleted.bytes, usage.bytes);
  EXPECT_EQ(store_->Usage(kNs).blocks, 0u);
  EXPECT_FALSE(Exists(2, 4));
}

TEST_P(BlockStoreConformanceTest, EvictsTheLeastRecentlyUsed) {
  for (uint32_t chain = 0; chain < 10; ++chain) ASSERT_EQ(Put(chain, 0), PutOutcome::kStored);
  ASSERT_TRUE(store_->Flush().ok());
  uint32_t next = 100;
  while (store_->Stats().evicted_blocks < 5) {
    ASSERT_TRUE(Get(0, 0).ok());  // kept young
    ASSERT_EQ(Put(next++, 0), PutOutcome::kStored);
    ASSERT_TRUE(store_->Flush().ok());
  }
  EXPECT_TRUE(Exists(0, 0));
  EXPECT_FALSE(Exists(1, 0));
  EXPECT_TRUE(Exists(9, 0));
}

TEST_P(BlockStoreConformanceTest, ExistsDoesNotExtendLife) {
  PutChain(1, 1);
  for (uint32_t i = 0; i < 200; ++i) {
    Exists(1, 0);
    ASSERT_EQ(Put(100 + i, 0), PutOutcome::kStored);
  }
  ASSERT_TRUE(store_->Flush().ok());
  EXPECT_FALSE(Exists(1, 0));
}

TEST_P(BlockStoreConformanceTest, MatchExtendsLife) {
  PutChain(1, 3);
  for (uint32_t i = 0; i < 200; ++i) {
    ASSERT_EQ(Match(1, 3).block_bytes.size(), 3u) << i;
    ASSERT_EQ(Put(100 + i, 0), PutOutcome::kStored);
  }
}

TEST_P(BlockStoreConformanceTest, EvictsALeafBeforeItsParent) {
  constexpr uint32_t kBlocks = 20;
  PutChain(1, kBlocks);
  ASSERT_TRUE(store_->Flush().ok());
  bool was_partial = false;
  for (uint32_t i = 0; i < 200; ++i) {
    ASSERT_EQ(Put(100 + i, 0), PutOutcome::kStored);
    const std::vector<bool> exists = store_->Exists(kNs, ChainKeys(1, kBlocks));
    EXPECT_TRUE(std::ranges::is_sorted(exists, std::greater<>())) << "a hole after " << i;
    was_partial |= exists.front() && !exists.back();
  }
  EXPECT_TRUE(was_partial);
}

TEST_P(BlockStoreConformanceTest, LeavesBeforeParentsEvenWhenChildrenCameFirst) {
  constexpr uint32_t kBlocks = 10;
  for (uint32_t i = kBlocks; i-- > 0;) ASSERT_EQ(Put(1, i), PutOutcome::kStored);
  EXPECT_EQ(Match(1, kBlocks).block_bytes.size(), kBlocks);
  for (uint32_t i = 0; i < 200; ++i) {
    ASSERT_EQ(Put(100 + i, 0), PutOutcome::kStored);
    const std::vector<bool> exists = store_->Exists(kNs, ChainKeys(1, kBlocks));
    EXPECT_TRUE(std::ranges::is_sorted(exists, std::greater<>())) << "a hole after " << i;
  }
}

TEST_P(BlockStoreConformanceTest, NeverEvictsALeasedBlock) {
  PutChain(1, 10);
  const PrefixMatchResult match = Match(1, 10, kLongLease);
  ASSERT_NE(match.lease_id, 0u);
  Flood(100);
  EXPECT_THAT(store_->Exists(kNs, ChainKeys(1, 10)), Each(true));
  for (uint32_t i = 0; i < 10; ++i) EXPECT_TRUE(Get(1, i).ok());
  store_->ReleaseLease(match.lease_id);
  Flood(500);
  EXPECT_THAT(store_->Exists(kNs, ChainKeys(1, 10)), Each(false));
}

TEST_P(BlockStoreConformanceTest, ALeaseEndsByItself) {
  PutChain(1, 2);
  const uint64_t unending = Match(1, 2, kLongLease).lease_id;
  ASSERT_NE(Match(1, 2, milliseconds(30)).lease_id, 0u);
  EXPECT_TRUE(Eventually([this] { return store_->Stats().leases == 1; }));
  store_->ReleaseLease(unending);
  EXPECT_EQ(store_->Stats().leases, 0u);
  Flood(100);
  EXPECT_FALSE(Exists(1, 1));
}

TEST_P(BlockStoreConformanceTest, ALeaseIsCapped) {
  PutChain(1, 1);
  EXPECT_EQ(Match(1, 1, std::chrono::hours(1)).lease, milliseconds(60000));
  EXPECT_EQ(Match(1, 1, milliseconds(5)).lease, milliseconds(5));
}

TEST_P(BlockStoreConformanceTest, TwoLeasesOnOneBlockBothCount) {
  PutChain(1, 1);
  const uint64_t first = Match(1, 1, kLongLease).lease_id;
  const uint64_t second = Match(1, 1, kLongLease).lease_id;
  ASSERT_NE(first, second);
  store_->ReleaseLease(first);
  store_->ReleaseLease(first);  // not an error, and not the other lease's end
  Flood(100);
  EXPECT_TRUE(Exists(1, 0));
  store_->ReleaseLease(second);
  Flood(500);
  EXPECT_FALSE(Exists(1, 0));
}

TEST_P(BlockStoreConformanceTest, ADeletedBlockUnderLeaseIsReadableUntilTheLeaseEnds) {
  PutChain(1, 2);
  ASSERT_TRUE(store_->Flush().ok());
  const uint64_t lease = Match(1, 2, kLongLease).lease_id;
  EXPECT_EQ(Delete(1, 1).blocks, 1u);
  EXPECT_EQ(Delete(1, 1).blocks, 0u);
  EXPECT_EQ(Match(1, 2).block_bytes.size(), 1u);
  EXPECT_THAT(Match(1, 2).stop, Optional(AbsenceReason::kDeleted));
  EXPECT_FALSE(Exists(1, 1));
  EXPECT_TRUE(Get(1, 1).ok());
  store_->ReleaseLease(lease);
  EXPECT_TRUE(absl::IsNotFound(Get(1, 1).status()));
}

TEST_P(BlockStoreConformanceTest, ABlockDeletedUnderLeaseCanBeStoredAgain) {
  PutChain(1, 1);
  ASSERT_TRUE(store_->Flush().ok());
  const uint64_t lease = Match(1, 1, kLongLease).lease_id;
  ASSERT_EQ(Delete(1, 0).blocks, 1u);
  EXPECT_EQ(Put(1, 0, 5), PutOutcome::kConflict);
  EXPECT_EQ(Put(1, 0), PutOutcome::kStored);
  store_->ReleaseLease(lease);
  EXPECT_EQ(Match(1, 1).block_bytes.size(), 1u);
  ASSERT_TRUE(store_->Flush().ok());
  EXPECT_EQ(Copy(Get(1, 0).value()), SealedBlock(ServiceDescriptor(), ChainKey(1, 0), 0));
}

TEST_P(BlockStoreConformanceTest, WithEverythingLeasedThereIsNoSpaceAndNothingIsLost) {
  std::vector<BlockKey> keys;
  for (uint32_t i = 0; i < 200; ++i) {
    if (!store_->Allocate(20000).ok()) break;
    if (Put(i, 0) != PutOutcome::kStored) break;
    store_->MatchPrefix(kNs, std::vector{ChainKey(i, 0)}, kLongLease);
    keys.push_back(ChainKey(i, 0));
  }
  ASSERT_GT(keys.size(), 10u);
  ASSERT_LT(keys.size(), 200u);
  EXPECT_THAT(store_->Exists(kNs, keys), Each(true));
  for (const auto& block : store_->Get(kNs, std::span(keys).first(3))) EXPECT_TRUE(block.ok()) << block.status();
}

TEST_P(BlockStoreConformanceTest, RefusesPositionsThatContradictTheChain) {
  ASSERT_EQ(Put(1, 3), PutOutcome::kStored);  // makes its absent parent number 2
  PutItem item = ChainItem(*store_, 1, 2);
  item.block_index = 5;
  EXPECT_EQ(store_->Put(kNs, std::span(&item, 1)).front().outcome, PutOutcome::kMismatch);
  item = ChainItem(*store_, 2, 1);
  item.parent = ChainKey(1, 3);
  EXPECT_EQ(store_->Put(kNs, std::span(&item, 1)).front().outcome, PutOutcome::kMismatch);
  item.parent = item.key;
  EXPECT_EQ(store_->Put(kNs, std::span(&item, 1)).front().outcome, PutOutcome::kMismatch);
  item.block_index = 0;
  EXPECT_EQ(store_->Put(kNs, std::span(&item, 1)).front().outcome, PutOutcome::kMismatch);
  EXPECT_EQ(store_->Usage(kNs).blocks, 1u);
}

TEST_P(BlockStoreConformanceTest, RefusesMemoryForImpossibleBlocks) {
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Allocate(0).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(store_->Allocate(kSmallMemory + 1).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(store_->Allocate(UINT64_MAX).status()));
}

TEST_P(BlockStoreConformanceTest, ReceivedMemoryCountsAgainstTheBudget) {
  std::vector<std::shared_ptr<BlockBuffer>> held;
  for (;;) {
    absl::StatusOr<std::shared_ptr<BlockBuffer>> buffer = store_->Allocate(100000);
    if (!buffer.ok()) break;
    held.push_back(*std::move(buffer));
    ASSERT_LE(held.size() * 100000, kSmallMemory);
  }
  EXPECT_GE(held.size(), 8u);
  held.clear();
  EXPECT_TRUE(store_->Allocate(100000).ok());
}

TEST_P(BlockStoreConformanceTest, BytesInUseOutliveTheirBlock) {
  PutChain(1, 1);
  const BlockBytes bytes = Get(1, 0).value();
  Delete(1, 0);
  Flood(100);
  EXPECT_EQ(Copy(bytes), SealedBlock(ServiceDescriptor(), ChainKey(1, 0), 0));
}

TEST_P(BlockStoreConformanceTest, BudgetsHoldWithManyWritersAndReaders) {
  constexpr uint32_t kThreads = 4;
  std::atomic<bool> done{false};
  std::atomic<uint32_t> wrong{0}, stored{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < 100; ++i) {
        const uint32_t chain = 1000 * t + i / 5;
        // Leases may hold all of the memory; then the store must say so.
        const absl::StatusOr<PutItem> item = ChainItemIfRoom(*store_, chain, i % 5);
        if (item.ok() && store_->Put(kNs, std::span(&*item, 1)).front().outcome == PutOutcome::kStored) ++stored;
        if (!item.ok() && !absl::IsResourceExhausted(item.status())) ++wrong;
        const auto bytes = Get(chain, i % 3);
        if (bytes.ok() && Copy(*bytes) != SealedBlock(ServiceDescriptor(), ChainKey(chain, i % 3), i % 3)) ++wrong;
        const PrefixMatchResult match = Match(chain, 5, milliseconds(i % 7));
        if (i % 2 == 0) store_->ReleaseLease(match.lease_id);
        if (i % 11 == 0) Delete(chain, 4);
      }
    });
  }
  std::thread watcher([&] {
    while (!done) {
      const BlockStoreStats stats = store_->Stats();
      if (stats.memory_used > stats.memory_budget || stats.disk_used > stats.disk_budget) ++wrong;
      std::this_thread::yield();
    }
  });
  for (std::thread& thread : threads) thread.join();
  done = true;
  watcher.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(stored, 100u);
}

TEST_P(BlockStoreConformanceTest, CountsWhatItHolds) {
  PutChain(1, 3);
  ASSERT_TRUE(store_->Flush().ok());
  const BlockStoreStats stats = store_->Stats();
  EXPECT_EQ(std::max(stats.memory.blocks, stats.disk.blocks), 3u);
  EXPECT_EQ(store_->Usage(kNs).bytes, std::max(stats.memory.bytes, stats.disk.bytes));
  EXPECT_EQ(stats.pending_writes, 0u);
  EXPECT_EQ(stats.lost_blocks, 0u);
}

INSTANTIATE_TEST_SUITE_P(Bodies, BlockStoreConformanceTest,
                         ::testing::Values(Body::kMemory, Body::kDisk, Body::kTiered, Body::kFaultInjecting),
                         [](const auto& param) { return BodyName(param.param); });

}  // namespace
}  // namespace polarkv::testing
