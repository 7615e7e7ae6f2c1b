// Restarts, kills and damaged files.
#include <filesystem>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/service/local_store_fixture.h"
#include "tests/testing/thread_sanitizer.h"

namespace polarkv::testing {
namespace {

using ::testing::Optional;
using LocalStoreRestartTest = LocalStoreDiskTest;

TEST_F(LocalStoreRestartTest, EverythingSurvivesAProperRestart) {
  PutChain(1, 30);
  ASSERT_EQ(Put(2, 0, kOtherNs).outcome, PutOutcome::kStored);
  Reopen();
  EXPECT_TRUE(store_->recovery().closed_cleanly);
  EXPECT_EQ(store_->recovery().blocks, 31u);
  EXPECT_EQ(store_->Stats().lost_blocks, 0u);
  EXPECT_EQ(Match(1, 31).block_bytes.size(), 30u);
  for (uint32_t i = 0; i < 30; ++i) {
    ASSERT_TRUE(Get(1, i).ok()) << i;
    EXPECT_TRUE(NeverWrong(1, i));
  }
  EXPECT_EQ(Put(1, 0).outcome, PutOutcome::kDuplicate);
}

TEST_F(LocalStoreRestartTest, LeasesDoNotKeepARestartFromWritingEverything) {
  options_.disk_budget = kSmallDisk;
  Reopen();
  for (uint32_t i = 0; i < 40; ++i) {
    ASSERT_EQ(Put(i, 0).outcome, PutOutcome::kStored);
    Match(i, 1, milliseconds(60000));
  }
  Reopen();
  EXPECT_EQ(store_->recovery().blocks, 40u);
}

TEST_F(LocalStoreRestartTest, DeletedBlocksStayDeletedAfterARestart) {
  PutChain(1, 3);
  const BlockKey last = ChainKey(1, 2);
  store_->Delete(kNs, std::span(&last, 1));
  Match(1, 2, milliseconds(60000));
  const BlockKey leased = ChainKey(1, 1);
  store_->Delete(kNs, std::span(&leased, 1));
  Reopen();
  EXPECT_EQ(Match(1, 3).block_bytes.size(), 1u);
}

TEST_F(LocalStoreRestartTest, BlocksOfANamespaceThatIsGoneAreDropped) {
  PutChain(1, 3);
  ASSERT_EQ(Put(2, 0, kOtherNs).outcome, PutOutcome::kStored);
  namespaces_ = {kOtherNs};
  Reopen();
  EXPECT_EQ(store_->recovery().blocks, 1u);
  EXPECT_EQ(store_->Stats().lost_blocks, 0u);
  namespaces_ = {kNs, kOtherNs};
  Reopen();
  EXPECT_EQ(store_->recovery().blocks, 1u);
}

TEST_F(LocalStoreRestartTest, ASmallerBudgetKeepsWhatFits) {
  PutChain(1, 100);
  options_.disk_budget = kSmallDisk;
  Reopen();
  EXPECT_EQ(store_->recovery().blocks + store_->recovery().evicted_blocks, 100u);
  EXPECT_GT(store_->recovery().blocks, 30u);
  EXPECT_LE(std::filesystem::file_size(BlockFilePath()), kSmallDisk);
  for (uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(NeverWrong(1, i));
  for (uint32_t i = 0; i < 100; ++i) ASSERT_NE(Put(3, i).outcome, PutOutcome::kNoSpace);
}

TEST_F(LocalStoreRestartTest, TheDataDirectoryStaysWithinItsBudget) {
  for (uint32_t i = 0; i < 600; ++i) ASSERT_EQ(Put(i, 0).outcome, PutOutcome::kStored);
  ASSERT_TRUE(store_->Flush().ok());
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(place_.path())) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  EXPECT_LE(bytes, options_.disk_budget);
  EXPECT_GT(store_->Stats().evicted_blocks, 100u);
}

TEST_F(LocalStoreRestartTest, FlippedBitsAreNeverServed) {
  PutChain(1, 30);
  Close();
  const uint64_t size = std::filesystem::file_size(BlockFilePath());
  for (uint64_t offset = 100; offset < size; offset += 50021) FlipBit(offset);
  Open();
  uint32_t corrupt = 0;
  for (uint32_t i = 0; i < 30; ++i) {
    const absl::StatusOr<BlockBytes> bytes = Get(1, i);
    if (bytes.ok()) {
      EXPECT_EQ(Copy(*bytes), SealedBlock(ServiceDescriptor(), ChainKey(1, i), i));
      continue;
    }
    EXPECT_TRUE(absl::IsDataLoss(bytes.status())) << bytes.status();
    ++corrupt;
    EXPECT_TRUE(absl::IsNotFound(Get(1, i).status()));
    EXPECT_THAT(Match(1, 30).stop, ::testing::AnyOf(Optional(AbsenceReason::kCorrupt)));
    EXPECT_EQ(Put(1, i).outcome, PutOutcome::kStored);  // a good copy may come again
    EXPECT_TRUE(Get(1, i).ok());
  }
  EXPECT_GT(corrupt, 3u);
  EXPECT_EQ(store_->Stats().corrupt_blocks, corrupt);
}

TEST_F(LocalStoreRestartTest, ABlockFileThatWasCutLosesOnlyWhatWasCutOff) {
  PutChain(1, 30);
  Close();
  std::filesystem::resize_file(BlockFilePath(), 10 * 20480);
  Open();
  EXPECT_EQ(store_->recovery().blocks, 10u);
  EXPECT_EQ(store_->Stats().lost_blocks, 20u);
  for (uint32_t i = 0; i < 30; ++i) EXPECT_TRUE(NeverWrong(1, i));
  EXPECT_TRUE(Get(1, 0).ok());
}

TEST_F(LocalStoreRestartTest, AMissingBlockFileIsAnEmptyStore) {
  PutChain(1, 5);
  Close();
  std::filesystem::remove(BlockFilePath());
  Open();
  EXPECT_EQ(store_->recovery().blocks, 0u);
  EXPECT_EQ(store_->recovery().damaged_blocks, 5u);
  EXPECT_EQ(Put(1, 0).outcome, PutOutcome::kStored);
}

TEST_F(LocalStoreRestartTest, AfterAKillWhatWasWrittenIsThereAndTheRestIsCounted) {
  if (kThreadSanitizer) GTEST_SKIP() << kForksWithThreads;
  InKilledChild([this](LocalStore& store) {
    for (uint32_t i = 0; i < 10; ++i) {
      const PutItem item = ChainItem(store, 1, i);
      store.Put(kNs, std::span(&item, 1));
    }
    store.Flush().IgnoreError();
    faults_->hold_writes = true;  // acknowledged from here on, and not written
    for (uint32_t i = 10; i < 15; ++i) {
      const PutItem item = ChainItem(store, 1, i);
      store.Put(kNs, std::span(&item, 1));
    }
  });
  Open();
  EXPECT_FALSE(store_->recovery().closed_cleanly);
  EXPECT_EQ(store_->recovery().blocks, 10u);
  EXPECT_EQ(store_->recovery().unwritten_blocks, 5u);
  EXPECT_EQ(store_->Stats().lost_blocks, 5u);
  const PrefixMatchResult match = Match(1, 15);
  EXPECT_EQ(match.block_bytes.size(), 10u);
  EXPECT_THAT(match.stop, Optional(AbsenceReason::kLostAtRestart));
  for (uint32_t i = 0; i < 15; ++i) EXPECT_TRUE(NeverWrong(1, i));
  Reopen();  // reported once
  EXPECT_EQ(store_->Stats().lost_blocks, 0u);
}

TEST_F(LocalStoreRestartTest, BlocksNotKnownToBeDurableAreCheckedAfterAKill) {
  if (kThreadSanitizer) GTEST_SKIP() << kForksWithThreads;
  options_.sync_interval = std::chrono::hours(1);
  InKilledChild([](LocalStore& store) {
    for (uint32_t i = 0; i < 10; ++i) {
      const PutItem item = ChainItem(store, 1, i);
      store.Put(kNs, std::span(&item, 1));
      while (store.Stats().pending_writes > 0) std::this_thread::yield();
    }
  });
  FlipBit(3 * 20480 + 9000);  // as a loss of power might leave it
  Open();
  EXPECT_EQ(store_->recovery().blocks, 9u);
  EXPECT_EQ(store_->recovery().damaged_blocks, 1u);
  EXPECT_THAT(Match(1, 10).stop, Optional(AbsenceReason::kCorrupt));
}

TEST_F(LocalStoreRestartTest, KilledAtAnyTimeItOpensAndServesOnlyIntactBlocks) {
  if (kThreadSanitizer) GTEST_SKIP() << kForksWithThreads;
  options_.disk_budget = kSmallDisk;
  for (uint32_t round = 0; round < 8; ++round) {
    InKilledChild([round](LocalStore& store) {
      std::thread load([&] {
        for (uint32_t i = 0;; ++i) {
          for (uint32_t chain = 0; chain < 20; ++chain) {
            const PutItem item = ChainItem(store, 100 * round + chain + 20 * (i / 10), i % 10);
            store.Put(kNs, std::span(&item, 1));
          }
        }
      });
      std::this_thread::sleep_for(milliseconds(10 + 17 * round));
      ::kill(::getpid(), SIGKILL);
      load.join();
    });
    Open();
    EXPECT_EQ(store_->recovery().damaged_blocks, 0u) << "killed, not unplugged: what is indexed was written";
    for (uint32_t chain = 0; chain < 100; ++chain) {
      for (uint32_t i = 0; i < 10; ++i) ASSERT_TRUE(NeverWrong(100 * round + chain, i));
    }
    EXPECT_EQ(store_->Stats().corrupt_blocks, 0u);
  }
}

}  // namespace
}  // namespace polarkv::testing
