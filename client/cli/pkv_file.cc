#include "client/cli/pkv_file.h"

#include <cstring>
#include <utility>

#include "client/cli/cli_status.h"
#include "client/cli/format_names.h"

namespace polarkv::cli {
namespace {

PkvBlock ReadBlock(std::span<const uint8_t> file, uint64_t offset, const KeyMeanProfilePtr& profile) {
  const std::span<const uint8_t> rest = file.subspan(offset);
  PkvBlock block;
  block.offset = offset;
  block.bytes = rest.size();
  if (rest.size() < sizeof(BlockHeader)) {
    block.status =
        absl::DataLossError("only " + std::to_string(rest.size()) + " bytes are left, a block header takes " +
                            std::to_string(sizeof(BlockHeader)) + "; the file is cut short or has stray bytes");
    return block;
  }
  const absl::StatusOr<BlockSpec> spec = ParseBlockHeader(rest.first(sizeof(BlockHeader)));
  if (!spec.ok()) {
    block.status = spec.status();
    return block;
  }
  block.spec = *spec;
  BlockHeader header;
  std::memcpy(&header, rest.data(), sizeof header);
  if (header.total_bytes > rest.size()) {
    block.status = absl::DataLossError("the block takes " + std::to_string(header.total_bytes) + " bytes, but only " +
                                       std::to_string(rest.size()) + " are left; the file is cut short");
    return block;
  }
  if (header.total_bytes < sizeof header) {
    block.status = absl::DataLossError("the block says that it takes " + std::to_string(header.total_bytes) + " bytes");
    return block;
  }
  block.bytes = header.total_bytes;
  absl::StatusOr<BlockView> view = BlockView::Parse(rest.first(block.bytes), VerifyPayload::kYes, profile);
  if (view.ok()) block.view = *std::move(view);
  block.status = view.status();
  return block;
}

}  // namespace

absl::Status CheckNotSafetensors(std::span<const uint8_t> file) {
  // '{' follows the 8-byte length of a safetensors header; in a block those are bytes of its length.
  const bool has_magic = file.size() >= 4 && std::memcmp(file.data(), &kBlockMagic, 4) == 0;
  if (has_magic || file.size() <= 8 || file[8] != '{') return absl::OkStatus();
  return absl::DataLossError("this is a safetensors file, not a .pkv file; `polarkv encode` makes one of it");
}

std::vector<PkvBlock> WalkBlocks(std::span<const uint8_t> file, const KeyMeanProfilePtr& profile) {
  std::vector<PkvBlock> blocks;
  for (uint64_t offset = 0; offset < file.size(); offset += blocks.back().bytes)
    blocks.push_back(ReadBlock(file, offset, profile));
  return blocks;
}

absl::StatusOr<PkvFile> PkvFile::Open(const std::string& path, const KeyMeanProfilePtr& profile) {
  absl::StatusOr<InputFile> file = InputFile::Open(path);
  if (!file.ok()) return file.status();
  PkvFile pkv(*std::move(file));
  const std::span<const uint8_t> bytes = pkv.file_.bytes();
  if (bytes.empty()) return absl::DataLossError(path + ": the file is empty; it holds no block");
  const std::vector<PkvBlock> blocks = WalkBlocks(bytes, profile);
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].view.has_value()) {
      pkv.blocks_.push_back(*blocks[i].view);
      continue;
    }
    if (absl::Status s = CheckNotSafetensors(bytes); !s.ok()) return Annotate(s, path);
    return Annotate(blocks[i].status,
                    path + ": block " + std::to_string(i) + " at byte " + std::to_string(blocks[i].offset));
  }
  return pkv;
}

uint64_t PkvFile::tokens() const {
  uint64_t tokens = 0;
  for (const BlockView& block : blocks_) tokens += block.spec().tokens;
  return tokens;
}

std::span<uint8_t> PkvFile::PrivateBytes(size_t block) {
  const std::span<const uint8_t> bytes = blocks_[block].bytes();
  return file_.private_bytes().subspan(static_cast<size_t>(bytes.data() - file_.bytes().data()), bytes.size());
}

absl::Status CheckSameShape(const BlockSpec& first, const BlockSpec& other) {
  const auto differ = [](const char* field, auto here, auto there) {
    return absl::InvalidArgumentError(std::string(field) + " is " + std::to_string(there) + ", but " +
                                      std::to_string(here) + " in the first block; the blocks are not of one model");
  };
  if (first.layers != other.layers) return differ("layers", first.layers, other.layers);
  if (first.kv_heads != other.kv_heads) return differ("kv_heads", first.kv_heads, other.kv_heads);
  if (first.first_kv_head != other.first_kv_head) {
    return differ("first_kv_head", first.first_kv_head, other.first_kv_head);
  }
  if (first.head_dim != other.head_dim) return differ("head_dim", first.head_dim, other.head_dim);
  if (first.rope == other.rope) return absl::OkStatus();
  const auto text = [](const Rope& rope) {
    return std::string(RopePairingName(rope.pairing)) + " base " + std::to_string(rope.base) + " dims " +
           std::to_string(rope.dims);
  };
  return absl::InvalidArgumentError("rope is " + text(other.rope) + ", but " + text(first.rope) +
                                    " in the first block; the blocks are not of one model");
}

uint64_t Coordinates(const BlockSpec& spec) {
  return uint64_t{2} * spec.layers * spec.kv_heads * spec.tokens * spec.head_dim;
}

double BitsPerCoordinate(uint64_t bytes, const BlockSpec& spec) {
  return 8.0 * static_cast<double>(bytes) / static_cast<double>(Coordinates(spec));
}

}  // namespace polarkv::cli
