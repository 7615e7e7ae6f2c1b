// An output file that is there whole or not at all.
#ifndef POLARKV_CLIENT_CLI_OUTPUT_FILE_H_
#define POLARKV_CLIENT_CLI_OUTPUT_FILE_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace polarkv::cli {

// Written under a temporary name in the same folder and renamed by Commit; without Commit nothing stays, and a file
// that was there before is untouched. Move-only; one at a time in a process (signal_cleanup.h).
class OutputFile {
 public:
  // FAILED_PRECONDITION: no such folder, not writable, or the path is something else than a regular file.
  static absl::StatusOr<OutputFile> Create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  absl::Status Append(std::span<const uint8_t> bytes);
  absl::Status WriteAt(uint64_t offset, std::span<const uint8_t> bytes);
  uint64_t size() const { return size_; }  // one past the last byte written
  absl::Status Commit();

 private:
  OutputFile(std::string path, std::string target) : path_(std::move(path)), target_(std::move(target)) {}
  absl::Status Error(const std::string& doing) const;

  std::string path_;       // as the user wrote it, for messages
  std::string target_;     // where it goes: `path_` with symbolic links followed
  std::string temporary_;  // empty: nothing to remove
  int fd_ = -1;
  uint64_t size_ = 0;
};

// Whether both paths name one existing file.
bool IsSameFile(const std::string& a, const std::string& b);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_OUTPUT_FILE_H_
