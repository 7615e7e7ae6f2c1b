// Disks that are full, slow or broken.
#include <filesystem>
#include <future>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/service/local_store_fixture.h"

namespace polarkv::testing {
namespace {

using ::testing::HasSubstr;
using LocalStoreFaultTest = LocalStoreDiskTest;

TEST_F(LocalStoreFaultTest, AFullDiskEvictsWithinWhatItHasAndServiceGoesOn) {
  for (uint32_t i = 0; i < 10; ++i) ASSERT_EQ(Put(i, 0).outcome, PutOutcome::kStored);
  ASSERT_TRUE(store_->Flush().ok());
  faults_->full_at = std::filesystem::file_size(BlockFilePath());
  for (uint32_t i = 10; i < 400; ++i) {
    ASSERT_EQ(Put(i, 0).outcome, PutOutcome::kStored);
    ASSERT_TRUE(NeverWrong(i, 0));
  }
  ASSERT_TRUE(store_->Flush().ok());
  EXPECT_GT(store_->Stats().disk.blocks, 10u);
  EXPECT_TRUE(Get(399, 0).ok());
}

TEST_F(LocalStoreFaultTest, ADiskThatIsFullFromTheStartLeavesBlocksInMemory) {
  faults_->full_at = 0;
  for (uint32_t i = 0; i < 20; ++i) ASSERT_EQ(Put(i, 0).outcome, PutOutcome::kStored);
  const absl::Status flushed = store_->Flush();
  EXPECT_TRUE(absl::IsResourceExhausted(flushed));
  EXPECT_THAT(std::string(flushed.message()), HasSubstr("20 blocks are in memory alone"));
  EXPECT_THAT(std::string(flushed.message()), HasSubstr("No space left on device"));
  for (uint32_t i = 0; i < 20; ++i) EXPECT_TRUE(Get(i, 0).ok());
  EXPECT_GE(store_->Stats().failed_writes, 20u);
  faults_->full_at = UINT64_MAX;
  std::this_thread::sleep_for(milliseconds(1100));  // a full disk is not tried at every write
  EXPECT_TRUE(store_->Flush().ok());
  Reopen();
  EXPECT_EQ(store_->recovery().blocks, 20u);
}

TEST_F(LocalStoreFaultTest, WithoutMemoryAFullDiskIsNoSpace) {
  options_.keep_in_memory = false;
  faults_->full_at = 0;
  Reopen();
  const PutResult result = Put(1, 0);
  EXPECT_EQ(result.outcome, PutOutcome::kNoSpace);
  EXPECT_THAT(result.message, HasSubstr("No space left on device"));
  EXPECT_TRUE(absl::IsNotFound(Get(1, 0).status()));
}

TEST_F(LocalStoreFaultTest, WritesThatFailAreReportedAndLeaveNothingBehind) {
  options_.keep_in_memory = false;
  Reopen();
  faults_->fail_writes = true;
  EXPECT_EQ(Put(1, 0).outcome, PutOutcome::kIoError);
  EXPECT_EQ(store_->Stats().disk_used, 0u);
  faults_->fail_writes = false;
  EXPECT_EQ(Put(1, 0).outcome, PutOutcome::kStored);
  EXPECT_TRUE(Get(1, 0).ok());
}

TEST_F(LocalStoreFaultTest, ABlockThatCannotBeReadMakesRoomForAGoodCopy) {
  options_.keep_in_memory = false;
  Reopen();
  PutChain(1, 2);
  faults_->fail_reads = true;
  EXPECT_TRUE(absl::IsUnavailable(Get(1, 1).status()));
  faults_->fail_reads = false;
  EXPECT_TRUE(absl::IsNotFound(Get(1, 1).status()));
  EXPECT_EQ(Put(1, 1).outcome, PutOutcome::kStored);
  EXPECT_TRUE(Get(1, 1).ok());
}

TEST_F(LocalStoreFaultTest, PutRefusesWhenTheDiskDoesNotKeepUpForTooLong) {
  options_.max_pending_bytes = 100000;
  options_.max_wait = milliseconds(300);
  Reopen();
  faults_->hold_writes = true;
  uint32_t stored = 0;
  while (Put(stored, 0).outcome == PutOutcome::kStored) ASSERT_LT(++stored, 20u);
  EXPECT_GE(stored, 5u);
  EXPECT_THAT(Put(99, 0).message, HasSubstr("the disk does not keep up"));
  EXPECT_TRUE(Get(0, 0).ok());
  faults_->hold_writes = false;
  faults_->hold_writes.notify_all();
  ASSERT_TRUE(store_->Flush().ok());
  EXPECT_EQ(Put(99, 0).outcome, PutOutcome::kStored);
}

TEST_F(LocalStoreFaultTest, PutWaitsForTheDiskToKeepUp) {
  options_.max_pending_bytes = 100000;
  options_.max_wait = std::chrono::minutes(2);
  Reopen();
  faults_->hold_writes = true;
  PutChain(1, 5);  // as many as may wait
  std::future<PutResult> waiting = std::async(std::launch::async, [this] { return Put(50, 0); });
  EXPECT_EQ(waiting.wait_for(milliseconds(50)), std::future_status::timeout);
  faults_->hold_writes = false;
  faults_->hold_writes.notify_all();
  EXPECT_EQ(waiting.get().outcome, PutOutcome::kStored);
}

TEST_F(LocalStoreFaultTest, BlocksDeletedBeforeTheyAreWrittenAreNotWritten) {
  faults_->hold_writes = true;
  PutChain(1, 3);
  const std::vector<BlockKey> keys = ChainKeys(1, 3);
  EXPECT_EQ(store_->Delete(kNs, keys).blocks, 3u);
  EXPECT_TRUE(absl::IsNotFound(Get(1, 0).status()));
  faults_->hold_writes = false;
  faults_->hold_writes.notify_all();
  ASSERT_TRUE(store_->Flush().ok());
  EXPECT_EQ(store_->Stats().disk.blocks, 0u);
  Reopen();
  EXPECT_EQ(store_->recovery().blocks, 0u);
  EXPECT_EQ(store_->Stats().lost_blocks, 0u);
}

TEST_F(LocalStoreFaultTest, BlocksOfManySizesLeaveNoSpaceUnusable) {
  options_.disk_budget = kSmallDisk;
  Reopen();
  for (uint32_t i = 0; i < 300; ++i) {
    NamespaceDescriptor descriptor = ServiceDescriptor();
    descriptor.layers = 1 + i % 5;
    PutItem item;
    item.key = ChainKey(i, 0);
    const std::vector<uint8_t> bytes = SealedBlock(descriptor, item.key, 0);
    item.bytes = BytesFor(*store_, bytes);
    ASSERT_EQ(store_->Put(kNs, std::span(&item, 1)).front().outcome, PutOutcome::kStored);
    ASSERT_TRUE(store_->Flush().ok()) << i;
    const BlockKey key = ChainKey(i / 2, 0);
    const auto read = store_->Get(kNs, std::span(&key, 1)).front();
    descriptor.layers = 1 + i / 2 % 5;
    if (!read.ok()) continue;
    ASSERT_EQ(Copy(*read), SealedBlock(descriptor, key, 0));
  }
  const BlockStoreStats stats = store_->Stats();
  EXPECT_GT(stats.disk_used, kSmallDisk * 3 / 4);
}

}  // namespace
}  // namespace polarkv::testing
