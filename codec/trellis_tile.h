// trellis1, trellis2, trellis3: one side of one tile (FORMAT.md, "Trellis codes").
#ifndef POLARKV_CODEC_TRELLIS_TILE_H_
#define POLARKV_CODEC_TRELLIS_TILE_H_

#include <cstdint>

#include "codec/rotated_tile.h"
#include "codec/trellis_matrix.h"

namespace polarkv {

class TrellisTileEncoder : public RotatedTileEncoder {
 public:
  TrellisTileEncoder(CodecId codec, KvSide side, uint32_t head_dim, uint64_t rotation_seed)
      : rotation_(side, head_dim, rotation_seed), matrix_(side, head_dim, TrellisBits(codec)) {}

  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const override;

 private:
  TileRotation rotation_;
  TrellisMatrix matrix_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TRELLIS_TILE_H_
