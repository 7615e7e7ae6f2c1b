// The turbo codecs: one side of one tile (FORMAT.md, "Turbo codes").
#ifndef POLARKV_CODEC_TURBO_TILE_H_
#define POLARKV_CODEC_TURBO_TILE_H_

#include <cstdint>
#include <optional>

#include "codec/code_matrix.h"
#include "codec/rotated_tile.h"
#include "codec/sign_sketch.h"
#include "codec/turbo_quantizer.h"

namespace polarkv {

class TurboTileEncoder : public RotatedTileEncoder {
 public:
  TurboTileEncoder(CodecId codec, KvSide side, uint32_t head_dim, uint64_t rotation_seed)
      : quantizer_(codec, side, head_dim, rotation_seed), matrix_(side, head_dim) {
    if (IsTurboQjl(codec)) residual_.emplace(head_dim, rotation_seed, 1);
  }

  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const override;

 private:
  void WriteResidual(LaneFloats (*y)[kMaxHeadDim], const float* norm, const int* exponent, const uint8_t* codes,
                     ScaleRange range, const uint8_t* scales, uint8_t* plane) const;

  TurboQuantizer quantizer_;
  CodeMatrix matrix_;
  std::optional<SignSketch> residual_;  // of turbo<b>q
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TURBO_TILE_H_
