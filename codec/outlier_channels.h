// What sketches with outlier channels have at the beginning of a tile's payload (FORMAT.md, "Sign sketches").
#ifndef POLARKV_CODEC_OUTLIER_CHANNELS_H_
#define POLARKV_CODEC_OUTLIER_CHANNELS_H_

#include <cstdint>
#include <span>

#include "codec/block_format.h"
#include "codec/codec_id.h"

namespace polarkv {

inline constexpr uint32_t kOutlierChannels = 8;  // of each group of tokens
inline constexpr uint32_t kOutlierGroupTokens = 32;
inline constexpr uint32_t kOutlierGroups = kTileTokens / kOutlierGroupTokens;
inline constexpr uint32_t kOutlierSignBytes = 8;  // of a token and projection

// Then u8 scales[64 tokens], of the outliers.
struct OutlierHead {
  uint8_t channel[kOutlierGroups][kOutlierChannels];  // coordinates, ascending
  int16_t base;                                       // of the scales
  uint8_t shift;
  uint8_t reserved[45];
};
static_assert(sizeof(OutlierHead) == 64);

inline constexpr bool HasOutlierChannels(CodecId codec) {
  return codec == CodecId::kQjl1Outliers || codec == CodecId::kQjl2Outliers || codec == CodecId::kQjl4Outliers;
}
// Bytes of the head, the scales and the outliers' signs.
inline constexpr uint32_t OutlierBytes(uint32_t projections) {
  return static_cast<uint32_t>(sizeof(OutlierHead)) + kTileTokens + projections * kTileTokens * kOutlierSignBytes;
}

// First defect of a payload's head and scales, or nullptr. `escapes`: bits of tokens that are stored raw.
const char* OutlierDefect(std::span<const uint8_t> payload, uint32_t head_dim, uint32_t tokens, uint64_t escapes);

}  // namespace polarkv

#endif  // POLARKV_CODEC_OUTLIER_CHANNELS_H_
