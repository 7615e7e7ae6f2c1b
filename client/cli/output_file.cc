#include "client/cli/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "client/cli/signal_cleanup.h"

namespace polarkv::cli {
namespace {

std::string FollowLinks(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(path.c_str(), nullptr), std::free);
  return resolved == nullptr ? path : std::string(resolved.get());
}

// The permissions the file will have: those of the file it replaces, else what the umask leaves.
mode_t FinalMode(const struct stat* replaced) {
  if (replaced != nullptr) return replaced->st_mode & 07777;
  const mode_t mask = umask(0);
  umask(mask);
  return 0666 & ~mask;
}

std::string TemporaryTemplate(const std::string& target) {
  const std::filesystem::path path(target);
  std::string name = path.filename().string();
  return (path.parent_path() / name.insert(0, 1, '.').append(".partial-XXXXXX")).string();
}

}  // namespace

absl::Status OutputFile::Error(const std::string& doing) const {
  const int error = errno;
  std::string message = path_ + ": cannot " + doing + ": " + std::strerror(error);
  if (error == ENOENT) message += "; create the folder first";
  if (error == ENOSPC) return absl::ResourceExhaustedError(message + "; free some space or write elsewhere");
  return absl::FailedPreconditionError(message);
}

absl::StatusOr<OutputFile> OutputFile::Create(const std::string& path) {
  OutputFile file(path, FollowLinks(path));
  struct stat replaced {};
  const bool exists = stat(file.target_.c_str(), &replaced) == 0;
  if (exists && !S_ISREG(replaced.st_mode)) {
    return absl::FailedPreconditionError(path + ": is not a regular file; the output needs a path of its own");
  }
  if (exists && access(file.target_.c_str(), W_OK) != 0) return file.Error("write");
  std::string temporary = TemporaryTemplate(file.target_);
  {
    const TerminationDeferral whole;
    file.fd_ = mkostemp(temporary.data(), O_CLOEXEC);
    if (file.fd_ < 0) return file.Error("create");
    file.temporary_ = temporary;
    SetFileToRemove(temporary);
  }
  if (fchmod(file.fd_, FinalMode(exists ? &replaced : nullptr)) != 0) return file.Error("set permissions");
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_) {}

OutputFile::~OutputFile() {
  if (fd_ >= 0) close(fd_);
  if (temporary_.empty()) return;
  unlink(temporary_.c_str());
  SetFileToRemove("");
}

absl::Status OutputFile::Append(std::span<const uint8_t> bytes) { return WriteAt(size_, bytes); }

absl::Status OutputFile::WriteAt(uint64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error("write");
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
    size_ = offset > size_ ? offset : size_;
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Commit() {
  if (close(std::exchange(fd_, -1)) != 0) return Error("write");
  if (rename(temporary_.c_str(), target_.c_str()) != 0) return Error("rename the finished file");
  SetFileToRemove("");
  temporary_.clear();
  return absl::OkStatus();
}

bool IsSameFile(const std::string& a, const std::string& b) {
  struct stat info_a {
  }, info_b{};
  return stat(a.c_str(), &info_a) == 0 && stat(b.c_str(), &info_b) == 0 && info_a.st_dev == info_b.st_dev &&
         info_a.st_ino == info_b.st_ino;
}

}  // namespace polarkv::cli
