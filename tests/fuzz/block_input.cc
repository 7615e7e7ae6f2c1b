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
  if (how_far == Reseal::kHeader || !ParseBlockHeader(block).ok()) return;
  ResealDirectory(block);
  const absl::StatusOr<BlockLayout> layout = ParseBlockPrefix(block);
  if (how_far == Reseal::kDirectory || !layout.ok() || layout->total_bytes() > block.size()) return;
  for (uint32_t entry = 0; entry < layout->directory_entries(); ++entry) {
    const uint32_t layer = entry / layout->planes();
    const PlaneKind kind = layout->plane_kind(entry % layout->planes());
    ResealSegment(block, layout->SegmentOffset(layer, kind), layout->SegmentBytes(layer, kind), entry);
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
