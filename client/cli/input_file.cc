#include "client/cli/input_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace polarkv::cli {
namespace {

absl::Status ReadError(const std::string& path, const std::string& doing) {
  const int error = errno;
  std::string message = path + ": cannot " + doing + ": " + std::strerror(error);
  if (error == ENOENT) message += "; check the path";
  return absl::Status(error == ENOENT ? absl::StatusCode::kNotFound : absl::StatusCode::kFailedPrecondition, message);
}

uint8_t* MapPages(int fd, size_t size) {
  const int flags = MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0);
  void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
  return pages == MAP_FAILED ? nullptr : static_cast<uint8_t*>(pages);
}

}  // namespace

absl::StatusOr<InputFile> InputFile::Open(const std::string& path) {
  InputFile file(path);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ReadError(path, "open");
  struct stat info {};
  absl::Status status;
  if (fstat(fd, &info) != 0) {
    status = ReadError(path, "examine");
  } else if (S_ISDIR(info.st_mode)) {
    status = absl::FailedPreconditionError(path + ": is a directory; give a file");
  } else if (S_ISREG(info.st_mode)) {
    status = file.Map(fd, static_cast<size_t>(info.st_size));
  } else {
    status = file.ReadAll(fd);
  }
  close(fd);
  if (!status.ok()) return status;
  return file;
}

absl::Status InputFile::Map(int fd, size_t size) {
  if (size == 0) return absl::OkStatus();
  uint8_t* pages = MapPages(fd, size);
  if (pages == nullptr) return ReadError(path_, "map");
  bytes_ = pages;
  size_ = size;
  return absl::OkStatus();
}

absl::Status InputFile::ReadAll(int fd) {
  std::vector<uint8_t> content;
  std::array<uint8_t, 65536> chunk;
  while (true) {
    const ssize_t got = read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ReadError(path_, "read");
    if (got == 0) break;
    content.insert(content.end(), chunk.begin(), chunk.begin() + got);
  }
  if (content.empty()) return absl::OkStatus();
  uint8_t* pages = MapPages(-1, content.size());
  if (pages == nullptr) return ReadError(path_, "hold in memory");
  std::copy(content.begin(), content.end(), pages);
  bytes_ = pages;
  size_ = content.size();
  return absl::OkStatus();
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      bytes_(std::exchange(other.bytes_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  return *this;
}

InputFile::~InputFile() {
  if (bytes_ != nullptr) munmap(bytes_, size_);
}

}  // namespace polarkv::cli
