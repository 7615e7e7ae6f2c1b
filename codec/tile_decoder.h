// One side of one tile back as rows, in the arithmetic of FORMAT.md ("Reading").
#ifndef POLARKV_CODEC_TILE_DECODER_H_
#define POLARKV_CODEC_TILE_DECODER_H_

#include <array>
#include <cstdint>

#include "codec/tile_matrix.h"

namespace polarkv {

// A double rounded to float, the largest float standing for all beyond it.
float SaturateToFloat(double value);

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
