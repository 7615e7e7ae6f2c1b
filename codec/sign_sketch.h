// Sketches of a tile's keys: the signs of their projections (FORMAT.md, "Sign sketches").
#ifndef POLARKV_CODEC_SIGN_SKETCH_H_
#define POLARKV_CODEC_SIGN_SKETCH_H_

#include <array>
#include <cstdint>
#include <vector>

#include "codec/code_matrix.h"
#include "codec/lane_vectors.h"
#include "codec/rotated_tile.h"
#include "codec/sign_projection.h"

namespace polarkv {

// What reading sketches takes besides; one thread at a time.
struct SketchScratch {
  std::array<uint8_t, kMaxTileCodes> bits;
  std::array<float, kMaxTileCodes> signs;
};

// Signs of `count` projections of rotated keys, as `count` planes of 8 * head_dim bytes in the order of first
// refinement planes: row = token, column = number of the projection's row. Thread-safe.
class SignSketch {
 public:
  SignSketch(uint32_t head_dim, uint64_t rotation_seed, uint32_t count);

  // Writes the signs of y [group][coordinate][lane], bit 1 for positive and zero, over all-zero planes; those of tokens
  // whose bit in `counted` is clear stay zero.
  void Write(const LaneFloats (*y)[kMaxHeadDim], uint64_t counted, uint8_t* planes) const;
  // estimate[coordinate][token] = SketchConstant / count * sum over the projections' rows s of sign * s: the direction
  // of y, without bias.
  void Read(const uint8_t* planes, SketchScratch& scratch, float* estimate) const;

 private:
  uint32_t head_dim_;
  CodeMatrix matrix_;
  std::vector<SignProjection> projections_;
};

// qjl1, qjl2, qjl4: sketches of 1, 2 and 4 projections, and norms.
class QjlTileEncoder : public RotatedTileEncoder {
 public:
  QjlTileEncoder(CodecId codec, uint32_t head_dim, uint64_t rotation_seed)
      : rotation_(KvSide::kKey, head_dim, rotation_seed), sketch_(head_dim, rotation_seed, QjlProjections(codec)) {}

  static constexpr uint32_t QjlProjections(CodecId codec) {
    return codec == CodecId::kQjl1 ? 1 : codec == CodecId::kQjl2 ? 2 : 4;
  }
  // A scale is the key's norm divided by this, so that none exceeds the largest float.
  static constexpr float kNormPerScale = 64;

  ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                    uint8_t* scales) const override;

 private:
  TileRotation rotation_;
  SignSketch sketch_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_SIGN_SKETCH_H_
