// Sealed blocks with arbitrary but legal payload, for tests of the format alone.
#ifndef POLARKV_TESTS_CODEC_TEST_BLOCK_H_
#define POLARKV_TESTS_CODEC_TEST_BLOCK_H_

#include <cstdint>
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

// SmallSpec with five layers that differ: as the header says; with key means and escapes; with other codecs; with other
// codecs, key means and escapes; with the residual plane.
BlockSpec LayeredSpec();

// Escape records that MakeBlock spreads over a layer: up to three a tile, of a tile's first and last key and first value.
inline constexpr uint32_t kEscapesPerTile = 3;

// Payload bytes that differ everywhere and hold no fp16 above 0x2FFF, so that they are sane numbers wherever they
// stand. A layer's escapes are at most kEscapesPerTile * kv_heads * tiles, and its last tile has two tokens or more; of
// its other keys, every second one lacks the mean if the layer has key means.
std::vector<uint8_t> MakeBlock(const BlockSpec& spec);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_TEST_BLOCK_H_
