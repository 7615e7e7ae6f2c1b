// The file that holds the blocks' bytes, and the seam at which tests make a disk fail.
#ifndef POLARKV_SERVICE_BLOCK_FILE_H_
#define POLARKV_SERVICE_BLOCK_FILE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace polarkv {

// Reads and writes of different ranges may run at the same time. Statuses: RESOURCE_EXHAUSTED (no space left, or a limit
// on file sizes), DATA_LOSS (the file ends before the range does), UNAVAILABLE (any other I/O error); the message names
// file, range and cause.
class BlockFile {
 public:
  virtual ~BlockFile() = default;

  virtual uint64_t size() const = 0;
  // Bytes that are free on the file's disk.
  virtual uint64_t SpaceLeft() const = 0;
  // Changes the size; new space is reserved on the disk where the file system can do that.
  virtual absl::Status Resize(uint64_t bytes) = 0;
  virtual absl::Status Write(uint64_t offset, std::span<const uint8_t> bytes) = 0;
  virtual absl::Status Read(uint64_t offset, std::span<uint8_t> bytes) const = 0;
  // Everything written before survives a loss of power.
  virtual absl::Status Sync() = 0;
};

// Creates the file when there is none.
absl::StatusOr<std::unique_ptr<BlockFile>> OpenBlockFile(const std::string& path);

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BLOCK_FILE_H_
