#include "client/cli/selected_block.h"

#include <cstring>
#include <utility>
#include <vector>

#include "codec/turbo_codebook.h"

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

PlaneMask PlanesForBits(CodecPair codec, uint32_t bits) {
  PlaneMask planes = PlaneBit(PlaneKind::kBase);
  // Adds what one side needs; true if its codes are whole then.
  const auto add = [&](CodecId side, PlaneKind first, PlaneKind second) {
    if (!HasTurboCodes(side)) return true;
    const uint32_t base_bits = TurboBits(side) - TraitsOf(side).refine_planes;
    if (bits > base_bits) planes |= PlaneBit(first);
    if (bits > base_bits + 1) planes |= PlaneBit(second);
    return bits >= TurboBits(side);
  };
  add(codec.v, PlaneKind::kValueRefine1, PlaneKind::kValueRefine0);
  if (add(codec.k, PlaneKind::kKeyRefine1, PlaneKind::kKeyRefine0)) planes |= PlaneBit(PlaneKind::kKeyResidual);
  return planes;
}

}  // namespace polarkv::cli
