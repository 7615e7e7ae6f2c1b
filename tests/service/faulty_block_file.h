// A BlockFile that fails when a test tells it to: a disk without room, or one that breaks.
#ifndef POLARKV_TESTS_SERVICE_FAULTY_BLOCK_FILE_H_
#define POLARKV_TESTS_SERVICE_FAULTY_BLOCK_FILE_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "service/block_file.h"
#include "service/file_error.h"

namespace polarkv::testing {

// Shared by the test and the file. Thread-safe.
struct DiskFaults {
  std::atomic<uint64_t> full_at{UINT64_MAX};  // bytes to which the file can grow
  std::atomic<bool> fail_writes{false};
  std::atomic<bool> fail_reads{false};
  std::atomic<bool> hold_writes{false};  // writes wait until it is false again
};

class FaultyBlockFile final : public BlockFile {
 public:
  FaultyBlockFile(std::unique_ptr<BlockFile> inner, std::shared_ptr<DiskFaults> faults)
      : inner_(std::move(inner)), faults_(std::move(faults)) {}

  uint64_t size() const override { return inner_->size(); }
  uint64_t SpaceLeft() const override { return inner_->SpaceLeft(); }
  absl::Status Resize(uint64_t bytes) override {
    if (bytes > faults_->full_at) return FileError(ENOSPC, "injected: cannot grow");
    return inner_->Resize(bytes);
  }
  absl::Status Write(uint64_t offset, std::span<const uint8_t> bytes) override {
    faults_->hold_writes.wait(true);
    if (faults_->fail_writes) return FileError(EIO, "injected: cannot write");
    return inner_->Write(offset, bytes);
  }
  absl::Status Read(uint64_t offset, std::span<uint8_t> bytes) const override {
    if (faults_->fail_reads) return FileError(EIO, "injected: cannot read");
    return inner_->Read(offset, bytes);
  }
  absl::Status Sync() override { return inner_->Sync(); }

 private:
  const std::unique_ptr<BlockFile> inner_;
  const std::shared_ptr<DiskFaults> faults_;
};

inline auto OpenFaulty(std::shared_ptr<DiskFaults> faults) {
  return [faults](const std::string& path) -> absl::StatusOr<std::unique_ptr<BlockFile>> {
    absl::StatusOr<std::unique_ptr<BlockFile>> file = OpenBlockFile(path);
    if (!file.ok()) return file.status();
    return std::make_unique<FaultyBlockFile>(*std::move(file), faults);
  };
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_SERVICE_FAULTY_BLOCK_FILE_H_
