// Sealed blocks with arbitrary but legal payload, for tests of the format alone.
#ifndef POLARKV_TESTS_CODEC_TEST_BLOCK_H_
#define POLARKV_TESTS_CODEC_TEST_BLOCK_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "codec/block_view.h"

namespace polarkv::testing {

// A block shape that exercises every field: two layers, two heads, two tiles of which the second is short.
inline BlockSpec SmallSpec(CodecPair codec = {CodecId::kTurbo4, CodecId::kTurbo4}) {
  BlockSpec spec;
  spec.layers = 2;
  spec.kv_heads = 2;
  spec.first_kv_head = 4;
  spec.head_dim = 64;
  spec.tokens = 70;
  spec.first_position = 640;
  spec.codec = codec;
  spec.source_dtype = Dtype::kBF16;
  spec.rope = {RopePairing::kHalf, 10000.0f, 64};
  spec.namespace_tag.fill(0x22);
  spec.key_tag.fill(0x33);
  return spec;
}

// Payload bytes that differ everywhere and hold no fp16 above 0x2FFF, so that they are sane numbers wherever they
// stand.
inline std::vector<uint8_t> MakeBlock(const BlockSpec& spec) {
  const BlockLayout layout = BlockLayout::Make(spec).value();
  std::vector<uint8_t> bytes(layout.total_bytes());
  uint32_t state = 12345;
  for (uint64_t i = layout.payload_offset(); i < bytes.size(); ++i) {
    state = state * 1664525 + 1013904223;
    bytes[i] = static_cast<uint8_t>(state >> 24) & 0x2F;
  }
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      for (uint32_t t = 0; t < spec.tiles(); ++t) {
        uint8_t* tile = bytes.data() + layout.SegmentOffset(layer, 0) + layout.TileOffset(0, head, t);
        TileHead tile_head{};
        tile_head.k_exponent = -3;
        tile_head.v_exponent = 2;
        tile_head.tokens = static_cast<uint16_t>(std::min(kTileTokens, spec.tokens - t * kTileTokens));
        std::memcpy(tile, &tile_head, sizeof tile_head);
        for (uint32_t token = tile_head.tokens; token < kTileTokens; ++token) {
          const BaseTileLayout& parts = layout.base_tile();
          if (parts.k_scales != parts.v_scales) std::memset(tile + parts.k_scales + 2 * token, 0, 2);
          if (parts.v_scales != parts.k_payload) std::memset(tile + parts.v_scales + 2 * token, 0, 2);
        }
      }
    }
  }
  SealBlock(spec, layout, bytes);
  return bytes;
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_TEST_BLOCK_H_
