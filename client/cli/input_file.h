// A whole file in memory: mapped where the system can map it, read otherwise (pipes).
#ifndef POLARKV_CLIENT_CLI_INPUT_FILE_H_
#define POLARKV_CLIENT_CLI_INPUT_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace polarkv::cli {

// Move-only. Its bytes stay where they are when it moves.
class InputFile {
 public:
  // Every error names the path and the reason. An empty file is not an error here.
  static absl::StatusOr<InputFile> Open(const std::string& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  const std::string& path() const { return path_; }
  // Page-aligned.
  std::span<const uint8_t> bytes() const { return {bytes_, size_}; }
  // The same bytes as a private copy, made page by page where written: the file never changes.
  std::span<uint8_t> private_bytes() { return {bytes_, size_}; }

 private:
  explicit InputFile(std::string path) : path_(std::move(path)) {}
  absl::Status Map(int fd, size_t size);
  absl::Status ReadAll(int fd);

  std::string path_;
  uint8_t* bytes_ = nullptr;
  size_t size_ = 0;
};

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_INPUT_FILE_H_
