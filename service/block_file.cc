#include "service/block_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "service/file_error.h"

namespace polarkv {
namespace {

class PosixBlockFile final : public BlockFile {
 public:
  PosixBlockFile(std::string path, int fd, uint64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}
  ~PosixBlockFile() override { ::close(fd_); }

  uint64_t size() const override { return size_; }

  uint64_t SpaceLeft() const override {
    struct statvfs info {};
    if (::fstatvfs(fd_, &info) != 0) return UINT64_MAX;  // then growing will tell
    return uint64_t{info.f_bavail} * info.f_frsize;
  }

  absl::Status Resize(uint64_t bytes) override {
    if (bytes > size_) {
      const int64_t begin = static_cast<int64_t>(size_);
      if (::fallocate(fd_, 0, begin, static_cast<int64_t>(bytes) - begin) == 0) {
        size_ = bytes;
        return absl::OkStatus();
      }
      if (errno != EOPNOTSUPP) return Failed(absl::StrCat("cannot grow to ", bytes, " bytes"));
    }
    if (::ftruncate(fd_, static_cast<int64_t>(bytes)) != 0) return Failed(absl::StrCat("cannot resize to ", bytes));
    size_ = bytes;
    return absl::OkStatus();
  }

  absl::Status Write(uint64_t offset, std::span<const uint8_t> bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<int64_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Failed(absl::StrCat("cannot write ", bytes.size(), " bytes at ", offset));
      bytes = bytes.subspan(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
    return absl::OkStatus();
  }

  absl::Status Read(uint64_t offset, std::span<uint8_t> bytes) const override {
    while (!bytes.empty()) {
      const ssize_t n = ::pread(fd_, bytes.data(), bytes.size(), static_cast<int64_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Failed(absl::StrCat("cannot read ", bytes.size(), " bytes at ", offset));
      if (n == 0) return absl::DataLossError(absl::StrCat(path_, ": ends at ", offset, ", before the block does"));
      bytes = bytes.subspan(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    if (::fdatasync(fd_) != 0) return Failed("cannot sync");
    return absl::OkStatus();
  }

 private:
  absl::Status Failed(absl::string_view what) const { return FileError(errno, absl::StrCat(path_, ": ", what)); }

  const std::string path_;
  const int fd_;
  std::atomic<uint64_t> size_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BlockFile>> OpenBlockFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return FileError(errno, absl::StrCat(path, ": cannot open"));
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    const int error = errno;
    ::close(fd);
    return FileError(error, absl::StrCat(path, ": cannot read its size"));
  }
  return std::make_unique<PosixBlockFile>(path, fd, static_cast<uint64_t>(info.st_size));
}

}  // namespace polarkv
