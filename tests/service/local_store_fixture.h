// A store on disk that a test can close, damage, open again, and whose disk it can make fail.
#ifndef POLARKV_TESTS_SERVICE_LOCAL_STORE_FIXTURE_H_
#define POLARKV_TESTS_SERVICE_LOCAL_STORE_FIXTURE_H_

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "service/local_store.h"
#include "tests/service/faulty_block_file.h"
#include "tests/service/store_bodies.h"
#include "tests/service/stored_block.h"

namespace polarkv::testing {

using std::chrono::milliseconds;

class LocalStoreDiskTest : public ::testing::Test {
 protected:
  LocalStoreDiskTest() { Open(); }

  void Open() {
    directory_ = DataDirectory::Open(place_.path()).value();
    store_ = LocalStore::Open(options_, directory_.get(), namespaces_).value();
  }
  void Close() {
    store_ = nullptr;
    directory_ = nullptr;
  }
  void Reopen() {
    Close();
    Open();
  }
  PutResult Put(uint32_t chain, uint32_t index, NamespaceId ns = kNs) {
    const PutItem item = ChainItem(*store_, chain, index);
    return store_->Put(ns, std::span(&item, 1)).front();
  }
  void PutChain(uint32_t chain, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) ASSERT_EQ(Put(chain, i).outcome, PutOutcome::kStored);
  }
  absl::StatusOr<BlockBytes> Get(uint32_t chain, uint32_t index) {
    const BlockKey key = ChainKey(chain, index);
    return store_->Get(kNs, std::span(&key, 1)).front();
  }
  // The right bytes, or none.
  bool NeverWrong(uint32_t chain, uint32_t index) {
    const absl::StatusOr<BlockBytes> bytes = Get(chain, index);
    return !bytes.ok() || Copy(*bytes) == SealedBlock(ServiceDescriptor(), ChainKey(chain, index), index);
  }
  PrefixMatchResult Match(uint32_t chain, uint32_t count, milliseconds lease = {}) {
    return store_->MatchPrefix(kNs, ChainKeys(chain, count), lease);
  }
  std::string BlockFilePath() const { return place_.path() + "/blocks.dat"; }
  void FlipBit(uint64_t offset) {
    std::fstream file(BlockFilePath(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char flipped = static_cast<char>(file.get() ^ 0x10);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(flipped);
  }
  // Does `work` with a store of its own in a child process, which is then killed as it stands.
  void InKilledChild(const std::function<void(LocalStore&)>& work) {
    Close();
    const pid_t child = ::fork();
    if (child == 0) {
      const auto directory = DataDirectory::Open(place_.path()).value();
      const auto store = LocalStore::Open(options_, directory.get(), namespaces_).value();
      work(*store);
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
  }

  TemporaryDirectory place_;
  std::shared_ptr<DiskFaults> faults_ = std::make_shared<DiskFaults>();
  std::set<NamespaceId> namespaces_ = {kNs, kOtherNs};
  LocalStoreOptions options_ = [this] {
    LocalStoreOptions options = SmallOptions(Body::kTiered);
    options.disk_budget = 4 * kSmallDisk;
    options.open_file = OpenFaulty(faults_);
    return options;
  }();
  std::unique_ptr<DataDirectory> directory_;
  std::unique_ptr<LocalStore> store_;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_SERVICE_LOCAL_STORE_FIXTURE_H_
