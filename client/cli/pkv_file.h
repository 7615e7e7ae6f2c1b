// A .pkv file: encoded blocks back to back, each of which describes itself.
#ifndef POLARKV_CLIENT_CLI_PKV_FILE_H_
#define POLARKV_CLIENT_CLI_PKV_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/input_file.h"
#include "codec/block_view.h"

namespace polarkv::cli {

// What was found at one place of the file.
struct PkvBlock {
  uint64_t offset = 0;            // in the file
  uint64_t bytes = 0;             // by its header, or what is left of the file when the header is unsound
  std::optional<BlockSpec> spec;  // when the header is sound
  std::optional<BlockView> view;  // when the whole block is
  absl::Status status;            // the defect
};

// Walks from block to block as far as sound headers lead; the last element may be a defect that ends the walk.
// Blocks that name `profile` are given it; another one than they name is their defect.
std::vector<PkvBlock> WalkBlocks(std::span<const uint8_t> file, const KeyMeanProfilePtr& profile = nullptr);

// People mix up the two kinds of file. DATA_LOSS with a better message than "bad magic" for a safetensors file.
absl::Status CheckNotSafetensors(std::span<const uint8_t> file);

// Move-only; the views point into the file.
class PkvFile {
 public:
  // All blocks, with every checksum verified. The first defect is an error that names file, block and offset; so is a
  // file without blocks.
  static absl::StatusOr<PkvFile> Open(const std::string& path, const KeyMeanProfilePtr& profile = nullptr);

  const std::string& path() const { return file_.path(); }
  const std::vector<BlockView>& blocks() const { return blocks_; }
  uint64_t bytes() const { return file_.bytes().size(); }
  uint64_t tokens() const;
  // The bytes of a block, to be changed in memory only.
  std::span<uint8_t> PrivateBytes(size_t block);

 private:
  explicit PkvFile(InputFile file) : file_(std::move(file)) {}
  InputFile file_;
  std::vector<BlockView> blocks_;
};

// INVALID_ARGUMENT naming the first field in which two blocks differ among those that all blocks of one model share:
// layers, heads, head_dim, RoPE.
absl::Status CheckSameShape(const BlockSpec& first, const BlockSpec& other);

// Bits that one stored coordinate takes, header and directory included.
double BitsPerCoordinate(uint64_t bytes, const BlockSpec& spec);
// Coordinates of K and V together.
uint64_t Coordinates(const BlockSpec& spec);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_PKV_FILE_H_
