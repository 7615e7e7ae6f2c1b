#include "service/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "service/file_error.h"

namespace polarkv {
namespace {

namespace fs = std::filesystem;

absl::Status CannotWrite(const std::string& path, int error_number) {
  if (error_number == EACCES || error_number == EPERM || error_number == EROFS) {
    return absl::PermissionDeniedError(
        absl::StrCat("data directory ", path, " cannot be written: ", std::system_category().message(error_number),
                     "; give this user write access or choose another --data-dir"));
  }
  return FileError(error_number, absl::StrCat("data directory ", path));
}

std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// The lock lives as long as the descriptor, so that it goes with a killed process.
absl::StatusOr<int> TakeLock(const std::string& path) {
  const std::string lock = path + "/LOCK";
  const int fd = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return CannotWrite(path, errno);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    ::close(fd);
    if (error != EWOULDBLOCK) return FileError(error, absl::StrCat("data directory ", path, ": cannot lock"));
    return absl::FailedPreconditionError(absl::StrCat("data directory ", path, " is in use by another server (process ",
                                                      FirstLine(lock),
                                                      "); stop it or choose another --data-dir"));
  }
  const std::string pid = absl::StrCat(::getpid(), "\n");
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    const int error = errno;
    ::close(fd);
    return CannotWrite(path, error);
  }
  return fd;
}

absl::Status WriteVersion(const std::string& path) {
  const std::string temporary = path + "/VERSION.new";
  std::ofstream out(temporary, std::ios::trunc);
  out << kDataVersion << "\n";
  out.close();
  std::error_code error;
  if (out) fs::rename(temporary, path + "/VERSION", error);
  if (!out || error) return CannotWrite(path, error ? error.value() : EIO);
  return absl::OkStatus();
}

absl::Status CheckVersion(const std::string& path) {
  if (!fs::exists(path + "/VERSION")) {
    if (fs::exists(path + "/index") || fs::exists(path + "/blocks.dat")) {
      return absl::FailedPreconditionError(absl::StrCat("data directory ", path,
                                                        " has data but no VERSION file; it is damaged or not a "
                                                        "polarkv directory: move it away or choose another --data-dir"));
    }
    return WriteVersion(path);
  }
  const std::string text = FirstLine(path + "/VERSION");
  int version = 0;
  if (!absl::SimpleAtoi(text, &version) || version < 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("data directory ", path, ": VERSION holds \"", text, "\", not a version number"));
  }
  if (version > kDataVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("data directory ", path, " was written by a newer polarkv (data version ", version,
                     ", this program reads up to ", kDataVersion, "); use the newer program or another --data-dir"));
  }
  return absl::OkStatus();
}

}  // namespace

DataDirectory::DataDirectory(std::string path, int lock_fd, std::unique_ptr<MetadataDb> db)
    : path_(std::move(path)), lock_fd_(lock_fd), db_(std::move(db)) {}

DataDirectory::~DataDirectory() {
  db_.reset();
  ::close(lock_fd_);
}

absl::StatusOr<std::unique_ptr<DataDirectory>> DataDirectory::Open(const std::string& path) {
  std::error_code error;
  const bool created = fs::create_directories(path, error);
  // Blocks say much about the prompts they were made from.
  if (created) fs::permissions(path, fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec, error);
  if (error) return CannotWrite(path, error.value());
  absl::StatusOr<int> lock = TakeLock(path);
  if (!lock.ok()) return lock.status();
  absl::Status status = CheckVersion(path);
  if (status.ok()) {
    absl::StatusOr<std::unique_ptr<MetadataDb>> db = MetadataDb::Open(path + "/index");
    if (db.ok()) {
      return std::unique_ptr<DataDirectory>(new DataDirectory(path, *lock, *std::move(db)));
    }
    status = absl::Status(db.status().code(), absl::StrCat("data directory ", path, ": ", db.status().message()));
  }
  ::close(*lock);
  return status;
}

}  // namespace polarkv
