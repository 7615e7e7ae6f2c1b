// A disk that is really full, for the index too. Alone in its program, which takes a file system of its own.
#include <sched.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "gtest/gtest.h"
#include "service/local_store.h"
#include "tests/service/store_bodies.h"
#include "tests/service/stored_block.h"
#include "tests/service/temporary_directory.h"

namespace polarkv::testing {
namespace {

// 3 MiB, seen by this process alone. False: this user may not have that.
bool MountSmallDisk(const std::string& path) {
  const bool apart = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
  return apart && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=3m") == 0;
}

void FillDisk(const std::string& path) {
  std::ofstream filler(path, std::ios::binary);
  const std::string chunk(4096, 'x');
  while (filler.write(chunk.data(), static_cast<std::streamsize>(chunk.size())).flush()) continue;
}

class FullDiskTest : public ::testing::Test {
 protected:
  void Open() {
    LocalStoreOptions options = SmallOptions(Body::kTiered);
    options.disk_budget = 8 << 20;
    directory_ = DataDirectory::Open(disk_.path() + "/data").value();
    store_ = LocalStore::Open(options, directory_.get(), {kNs}).value();
  }
  bool Put(uint32_t chain) {
    const PutItem item = ChainItem(*store_, chain, 0);
    return store_->Put(kNs, std::span(&item, 1)).front().outcome == PutOutcome::kStored;
  }
  bool IsThere(uint32_t chain) {
    const BlockKey key = ChainKey(chain, 0);
    const auto bytes = store_->Get(kNs, std::span(&key, 1)).front();
    return bytes.ok() && Copy(*bytes) == SealedBlock(ServiceDescriptor(), key, 0);
  }

  TemporaryDirectory disk_;
  std::unique_ptr<DataDirectory> directory_;
  std::unique_ptr<LocalStore> store_;
};

TEST_F(FullDiskTest, NothingIsLostAndTheDiskIsUsedAgainWhenItHasRoom) {
  if (!MountSmallDisk(disk_.path())) GTEST_SKIP() << "this user may not mount a file system";
  Open();
  for (uint32_t i = 0; i < 20; ++i) ASSERT_TRUE(Put(i));
  ASSERT_TRUE(store_->Flush().ok());
  FillDisk(disk_.path() + "/filler");
  for (uint32_t i = 20; i < 40; ++i) {
    ASSERT_TRUE(Put(i));
    ASSERT_TRUE(IsThere(i));
  }
  EXPECT_TRUE(absl::IsResourceExhausted(store_->Flush()));
  // The first ones may have made room for later ones, in the order of their use. Nothing else is missing.
  const uint32_t evicted = static_cast<uint32_t>(store_->Stats().evicted_blocks);
  EXPECT_LT(evicted, 20u);
  for (uint32_t i = 0; i < 40; ++i) EXPECT_EQ(IsThere(i), i >= evicted) << i;
  std::filesystem::remove(disk_.path() + "/filler");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // a full disk is not tried at every write
  EXPECT_TRUE(Put(40));
  const absl::Status closed = store_->Close();
  EXPECT_TRUE(closed.ok()) << closed;
  EXPECT_EQ(store_->Stats().evicted_blocks, evicted);
  store_ = nullptr;
  directory_ = nullptr;
  Open();
  EXPECT_EQ(store_->recovery().blocks, 41 - evicted);
  EXPECT_EQ(store_->Stats().lost_blocks, 0u);
  for (uint32_t i = evicted; i <= 40; ++i) EXPECT_TRUE(IsThere(i)) << i;
}

}  // namespace
}  // namespace polarkv::testing
