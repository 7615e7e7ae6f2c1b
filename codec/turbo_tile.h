// turbo2, turbo3, turbo4: one side of one tile (FORMAT.md, "Turbo codes").
#ifndef POLARKV_CODEC_TURBO_TILE_H_
#define POLARKV_CODEC_TURBO_TILE_H_

#include <cstdint>

#include "codec/code_matrix.h"
#include "codec/turbo_quantizer.h"

namespace polarkv {

// Scratch-free and const: one encoder serves all tiles of a block.
class TurboTileEncoder {
 public:
  TurboTileEncoder(CodecId codec, KvSide side, uint32_t head_dim, uint64_t rotation_seed)
      : quantizer_(codec, side, head_dim, rotation_seed), matrix_(side, head_dim) {}

  // Encodes `tokens` (1..64) contiguous finite rows of head_dim into all-zero planes and scales (fp16 [64]); returns
  // the tile exponent.
  int Encode(const float* rows, uint32_t tokens, const CodePlanes<uint8_t>& planes, uint8_t* scales) const;

 private:
  TurboQuantizer quantizer_;
  CodeMatrix matrix_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TURBO_TILE_H_
