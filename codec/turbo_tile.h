// The turbo codecs: one side of one tile (FORMAT.md, "Turbo codes").
#ifndef POLARKV_CODEC_TURBO_TILE_H_
#define POLARKV_CODEC_TURBO_TILE_H_

#include <cstdint>

#include "codec/code_matrix.h"
#include "codec/rotated_tile.h"
#include "codec/turbo_quantizer.h"

namespace polarkv {

class TurboTileEncoder : public RotatedTileEncoder {
 public:
  TurboTileEncoder(CodecId codec, KvSide side, uint32_t head_dim, uint64_t rotation_seed)
      : quantizer_(codec, side, head_dim, rotation_seed), matrix_(side, head_dim) {}

  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const override;

 private:
  TurboQuantizer quantizer_;
  CodeMatrix matrix_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TURBO_TILE_H_
