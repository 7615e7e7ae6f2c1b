#include "tests/fuzz/block_input.h"

#include <algorithm>

#include "tests/codec/block_defects.h"

namespace polarkv::testing {
namespace {

constexpr size_t kControlBytes = 4;

// As far as the header makes sense.
void PutRight(std::vector<uint8_t>& block, Reseal how_far) {
  if (how_far == Reseal::kNothing || block.size() < sizeof(BlockHeader)) return;
  ResealHeader(block);
  const absl::StatusOr<BlockSpec> spec = ParseBlockHeader(block);
  if (how_far == Reseal::kHeader || !spec.ok()) return;
  const BlockLayout layout = BlockLayout::Make(*spec).value();
  if (layout.payload_offset() > block.size()) return;
  ResealDirectory(block, layout.directory_entries());
  if (how_far == Reseal::kDirectory || layout.total_bytes() > block.size()) return;
  for (uint32_t entry = 0; entry < layout.directory_entries(); ++entry) {
    const uint32_t plane = entry % layout.planes();
    const uint64_t offset = layout.SegmentOffset(entry / layout.planes(), plane);
    ResealSegment(block, offset, layout.SegmentBytes(plane), entry);
  }
}

}  // namespace

std::optional<BlockInput> ReadBlockInput(const uint8_t* data, size_t size, Reseal least) {
  if (size < kControlBytes) return std::nullopt;
  BlockInput input;
  input.block.assign(data + kControlBytes, data + size);
  input.selection = {data[1], data[2], data[3]};
  PutRight(input.block, std::max(least, static_cast<Reseal>(data[0] % 4)));
  return input;
}

}  // namespace polarkv::testing
