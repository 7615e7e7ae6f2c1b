// One side of one tile as numbers, as far as its planes were fetched.
#ifndef POLARKV_CODEC_TILE_MATRIX_H_
#define POLARKV_CODEC_TILE_MATRIX_H_

#include <array>
#include <cstdint>

#include "codec/block_view.h"
#include "codec/code_matrix.h"
#include "codec/kv_side.h"

namespace polarkv {

// A coordinate of a token is value * factor[token]; of the rotated vector for turbo codecs, of the vector itself for
// others. [column][row] as in code_matrix.h: keys [coordinate][token], values [token][coordinate].
struct TileMatrix {
  alignas(64) std::array<float, kMaxTileCodes> value;
  std::array<double, kTileTokens> factor;
};

// Where one side of a tile is, and what its reader must know besides.
struct TilePart {
  CodecId codec;
  uint32_t bits;                     // of turbo codes, as the held planes allow
  int exponent;                      // what is stored is to be multiplied by 2^exponent
  const uint8_t* scales;             // fp16 [64]; turbo codecs only
  CodePlanes<const uint8_t> planes;  // crumbs: the side's payload in the base plane, whatever the codec
};

// The view must hold the layer. Nothing is trusted but the header, which the view has validated.
TilePart FindTilePart(const BlockView& block, KvSide side, uint32_t layer, uint32_t kv_head, uint32_t tile);

inline uint32_t TileTokenCount(const BlockSpec& spec, uint32_t tile) {
  const uint32_t rest = spec.tokens - tile * kTileTokens;
  return rest < kTileTokens ? rest : kTileTokens;
}

// Reads the tiles of blocks of one head_dim. Thread-safe.
class TileMatrixReader {
 public:
  TileMatrixReader(KvSide side, uint32_t head_dim) : matrix_(side, head_dim) {}
  // `rope`: how polar44 pairs coordinates. Padding tokens come out as numbers of no meaning.
  void Read(const TilePart& part, const Rope& rope, TileMatrix& out) const;

 private:
  void ReadTurbo(const TilePart& part, TileMatrix& out) const;
  void ReadHalf(const TilePart& part, TileMatrix& out) const;
  void ReadPolar(const TilePart& part, const Rope& rope, TileMatrix& out) const;

  CodeMatrix matrix_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TILE_MATRIX_H_
