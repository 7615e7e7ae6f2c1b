// Property: whatever bytes arrive, parsing reads nothing but them, and an accepted block gives out nothing but them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tests/fuzz/block_input.h"

namespace polarkv {
namespace {

// Reads every byte that the view gives out; one outside the block's bytes ends the run.
class Walker {
 public:
  explicit Walker(const BlockView& view) : view_(view) {}
  void Read(std::span<const uint8_t> bytes) {
    if (bytes.empty()) return;
    const std::span<const uint8_t> all = view_.bytes();
    if (bytes.data() < all.data() || bytes.data() + bytes.size() > all.data() + all.size()) std::abort();
    for (const uint8_t byte : bytes) sink_ = byte;
  }
  void Read(const VectorRecord& record) {
    const auto bytes = std::as_bytes(record.halves);
    Read({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }

 private:
  const BlockView& view_;
  volatile uint8_t sink_ = 0;
};

void Walk(const BlockView& view) {
  Walker walker(view);
  for (uint32_t layer = 0; layer < view.spec().layers; ++layer) {
    for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
      for (uint32_t head = 0; head < view.spec().kv_heads; ++head) {
        for (uint32_t tile = 0; tile < view.spec().tiles(); ++tile) {
          walker.Read(view.Tile(layer, static_cast<PlaneKind>(kind), head, tile));
        }
      }
    }
    for (uint32_t head = 0; head <= view.spec().kv_heads; ++head) walker.Read(view.KeyMean(layer, head));
    for (uint32_t head = 0; head <= view.spec().kv_heads; ++head) walker.Read(view.BandTableOf(layer, head));
    for (uint32_t i = 0; i <= view.layout().layer(layer).escapes; ++i) walker.Read(view.EscapeRecord(layer, i));
  }
  if (view.phases().size() > view.spec().head_dim / 2u) std::abort();
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
  const auto input = polarkv::testing::ReadBlockInput(data, size);
  if (!input) return 0;
  polarkv::ParseAndWalk(input->block, {});
  polarkv::ParseAndWalk(input->block, input->selection);
  const absl::StatusOr<polarkv::BlockLayout> layout = polarkv::ParseBlockPrefix(input->block);
  if (layout.ok()) polarkv::CheckRanges(*layout, input->selection);
  return 0;
}
