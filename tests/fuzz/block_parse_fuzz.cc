// Property: whatever bytes arrive, parsing reads nothing but them, and an accepted block gives out nothing but them.
//
// Input: one byte that says how far the checksums are put right first (a fuzzer does not find them by itself), three
// bytes of selection (first layer, end layer, planes), then the block.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "codec/block_view.h"
#include "tests/codec/block_defects.h"

namespace polarkv {
namespace {

constexpr size_t kControlBytes = 4;

// 0: as is; 1: header; 2: and directory; 3: and segments, as far as the header makes sense.
void Reseal(std::vector<uint8_t>& block, int how_far) {
  if (how_far == 0 || block.size() < sizeof(BlockHeader)) return;
  testing::ResealHeader(block);
  const absl::StatusOr<BlockSpec> spec = ParseBlockHeader(block);
  if (how_far == 1 || !spec.ok()) return;
  const BlockLayout layout = BlockLayout::Make(*spec).value();
  if (layout.payload_offset() > block.size()) return;
  testing::ResealDirectory(block, layout.directory_entries());
  if (how_far == 2 || layout.total_bytes() > block.size()) return;
  for (uint32_t entry = 0; entry < layout.directory_entries(); ++entry) {
    const uint32_t plane = entry % layout.planes();
    testing::ResealSegment(block, layout.SegmentOffset(entry / layout.planes(), plane), layout.SegmentBytes(plane),
                           entry);
  }
}

// Reads every byte that the view gives out; a tile outside the block's bytes ends the run.
void Walk(const BlockView& view) {
  const uint8_t* begin = view.bytes().data();
  volatile uint8_t sink = 0;
  for (uint32_t layer = 0; layer < view.spec().layers; ++layer) {
    for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
      for (uint32_t head = 0; head < view.spec().kv_heads; ++head) {
        for (uint32_t tile = 0; tile < view.spec().tiles(); ++tile) {
          const std::span<const uint8_t> bytes = view.Tile(layer, static_cast<PlaneKind>(kind), head, tile);
          if (bytes.empty()) continue;
          if (bytes.data() < begin || bytes.data() + bytes.size() > begin + view.bytes().size()) std::abort();
          for (const uint8_t byte : bytes) sink = byte;
        }
      }
    }
  }
  static_cast<void>(sink);
}

void ParseAndWalk(std::span<const uint8_t> bytes, const BlockSelection& selection) {
  for (const VerifyPayload verify : {VerifyPayload::kNo, VerifyPayload::kYes}) {
    const absl::StatusOr<BlockView> view = BlockView::ParseSelection(bytes, selection, verify);
    if (view.ok()) Walk(*view);
  }
}

// The ranges of a selection lie in the block, in order and apart.
void CheckRanges(const BlockLayout& layout, const BlockSelection& selection) {
  const absl::StatusOr<std::vector<ByteRange>> ranges = SelectionRanges(layout, selection);
  if (!ranges.ok()) return;
  uint64_t end = 0;
  for (const ByteRange& range : *ranges) {
    if (range.length == 0 || (range.offset <= end && end != 0)) std::abort();
    end = range.offset + range.length;
  }
  if (end > layout.total_bytes()) std::abort();
}

}  // namespace
}  // namespace polarkv

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace polarkv;
  if (size < kControlBytes) return 0;
  // Memory of exactly the block's size, so that a sanitizer sees the first byte too far.
  std::vector<uint8_t> block(data + kControlBytes, data + size);
  Reseal(block, data[0] % 4);
  const BlockSelection selection = {data[1], data[2], data[3]};
  ParseAndWalk(block, {});
  ParseAndWalk(block, selection);
  const absl::StatusOr<BlockLayout> layout = ParseBlockPrefix(block);
  if (layout.ok()) CheckRanges(*layout, selection);
  return 0;
}
