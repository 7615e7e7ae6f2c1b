#include "codec/outlier_channels.h"

#include <algorithm>
#include <cstring>

namespace polarkv {

const char* OutlierDefect(std::span<const uint8_t> payload, uint32_t head_dim, uint32_t tokens, uint64_t escapes) {
  OutlierHead head;
  std::memcpy(&head, payload.data(), sizeof head);
  for (const auto& channels : head.channel) {
    for (uint32_t i = 0; i < kOutlierChannels; ++i) {
      if (channels[i] >= head_dim) return "there is no such outlier channel";
      if (i > 0 && channels[i] <= channels[i - 1]) return "outlier channels do not ascend";
    }
  }
  if (head.shift > kMaxTileShift) return "the outliers' shift is above 5";
  if (!ScaleRangeInBounds(head.base, head.shift)) return "the outlier scales' base is out of range";
  if (std::ranges::any_of(head.reserved, [](uint8_t byte) { return byte != 0; })) {
    return "reserved bytes of the outliers are not zero";
  }
  const std::span<const uint8_t> scales = payload.subspan(sizeof head, kTileTokens);
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    if (scales[t] == 0) continue;
    if (t >= tokens) return "the outlier scale of a padding token is not zero";
    if ((escapes >> t & 1) != 0) return "the outlier scale of an escaped token is not zero";
  }
  return nullptr;
}

}  // namespace polarkv
