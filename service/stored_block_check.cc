#include "service/stored_block_check.h"

#include <cstring>

#include "codec/block_view.h"

namespace polarkv {

uint64_t HeaderChecksum(std::span<const uint8_t> block) {
  uint64_t checksum = 0;
  std::memcpy(&checksum, block.data() + offsetof(BlockHeader, header_xxh3), sizeof checksum);
  return checksum;
}

absl::Status CheckStoredBlock(std::span<const uint8_t> block, uint64_t header_xxh3) {
  if (block.size() < sizeof(BlockHeader) || HeaderChecksum(block) != header_xxh3) {
    return absl::DataLossError("the stored bytes are another block's");
  }
  const absl::StatusOr<BlockView> view = BlockView::Parse(block, VerifyPayload::kYes);
  if (view.ok()) return absl::OkStatus();
  return absl::DataLossError(view.status().message());
}

}  // namespace polarkv
