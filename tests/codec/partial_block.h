// A block as Fetch ships it: header, directory and the selected segments only.
#ifndef POLARKV_TESTS_CODEC_PARTIAL_BLOCK_H_
#define POLARKV_TESTS_CODEC_PARTIAL_BLOCK_H_

#include <cstdint>
#include <vector>

#include "codec/block_view.h"

namespace polarkv::testing {

inline std::vector<uint8_t> SelectBytes(const std::vector<uint8_t>& block, const BlockSelection& selection) {
  const BlockView view = BlockView::Parse(block, VerifyPayload::kNo).value();
  std::vector<uint8_t> bytes;
  const std::vector<ByteRange> ranges = SelectionRanges(view.layout(), selection).value();
  for (const ByteRange& range : ranges) {
    bytes.insert(bytes.end(), block.begin() + range.offset, block.begin() + range.offset + range.length);
  }
  return bytes;
}

inline BlockView ParsePart(const std::vector<uint8_t>& bytes, const BlockSelection& selection) {
  return BlockView::ParseSelection(bytes, selection, VerifyPayload::kYes).value();
}

// The planes of which both keys and values keep `bits` bits of a turbo code.
inline PlaneMask PlanesForBits(uint32_t bits) {
  PlaneMask planes = PlaneBit(PlaneKind::kBase);
  if (bits >= 3) planes |= PlaneBit(PlaneKind::kKeyRefine1) | PlaneBit(PlaneKind::kValueRefine1);
  if (bits >= 4) planes |= PlaneBit(PlaneKind::kKeyRefine0) | PlaneBit(PlaneKind::kValueRefine0);
  return planes;
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_PARTIAL_BLOCK_H_
