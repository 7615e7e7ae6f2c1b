// One side of one tile back as rows, in the arithmetic of FORMAT.md ("Reading").
#ifndef POLARKV_CODEC_TILE_DECODER_H_
#define POLARKV_CODEC_TILE_DECODER_H_

#include <array>
#include <cstdint>

#include "codec/tile_matrix.h"

namespace polarkv {

// A double rounded to float, the largest float standing for all beyond it.
float SaturateToFloat(double value);

// What multiplies the numbers of a token of a rotated codec: `scale` is an f32 times a power of two below 2^128, `constant` is
// RotationScale(head_dim), or 1 where the vector stays rotated. The product is exact in f64, below the normal floats too.
float TokenFactor(double scale, float constant);

// Holds scratch memory: one thread at a time.
class TileDecoder {
 public:
  TileDecoder(KvSide side, uint32_t head_dim, uint64_t rotation_seed);

  // rows: [tokens][head_dim], of what the codes say. Escaped tokens are zero, key means are not added.
  void Decode(const TilePart& part, const Rope& rope, uint32_t tokens, float* rows);

 private:
  void TransposeKeys();

  KvSide side_;
  uint32_t head_dim_;
  TileMatrixReader reader_;
  std::array<float, kMaxHeadDim> signs_;
  TileMatrix matrix_;
  std::array<float, kMaxTileCodes> transposed_;  // keys as [token][coordinate]
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TILE_DECODER_H_
