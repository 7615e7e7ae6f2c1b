#include "client/cli/selected_block.h"

#include <cstring>
#include <utility>
#include <vector>

namespace polarkv::cli {

absl::StatusOr<SelectedBlock> SelectedBlock::Copy(const BlockView& whole, const BlockSelection& selection) {
  const absl::StatusOr<std::vector<ByteRange>> ranges = SelectionRanges(whole.layout(), selection);
  if (!ranges.ok()) return ranges.status();
  uint64_t total = 0;
  for (const ByteRange& range : *ranges) total += range.length;
  AlignedBuffer bytes(total);
  uint8_t* end = bytes.span().data();
  for (const ByteRange& range : *ranges) {
    std::memcpy(end, whole.bytes().data() + range.offset, range.length);
    end += range.length;
  }
  // The payload was verified as part of the whole block.
  absl::StatusOr<BlockView> view = BlockView::ParseSelection(bytes.span(), selection, VerifyPayload::kNo, whole.profile());
  if (!view.ok()) return view.status();
  return SelectedBlock(std::move(bytes), *std::move(view));
}

PlaneMask PlanesForBits(uint32_t bits) {
  PlaneMask planes = PlaneBit(PlaneKind::kBase);
  if (bits >= 3) planes |= PlaneBit(PlaneKind::kKeyRefine1) | PlaneBit(PlaneKind::kValueRefine1);
  if (bits >= 4) planes |= PlaneBit(PlaneKind::kKeyRefine0) | PlaneBit(PlaneKind::kValueRefine0);
  return planes;
}

}  // namespace polarkv::cli
