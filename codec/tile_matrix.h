// One side of one tile as numbers, as far as its planes were fetched.
#ifndef POLARKV_CODEC_TILE_MATRIX_H_
#define POLARKV_CODEC_TILE_MATRIX_H_

#include <array>
#include <cstdint>

#include "codec/block_view.h"
#include "codec/code_matrix.h"
#include "codec/kv_side.h"
#include "codec/log_scale.h"
#include "codec/sketch_reader.h"
#include "codec/tile_planes.h"
#include "codec/trellis_matrix.h"

namespace polarkv {

// A coordinate of a token is value * factor[token]; of the rotated vector for codecs that rotate, of the vector itself
// for others. [column][row] as in code_matrix.h: keys [coordinate][token], values [token][coordinate]. Escaped tokens
// have the factor 0; key means are not added.
struct TileMatrix {
  alignas(64) std::array<float, kMaxTileCodes> value;
  std::array<double, kTileTokens> factor;
};

// Where one side of a tile is, and what its reader must know besides.
struct TilePart {
  CodecId codec;
  uint32_t bits;          // of turbo codes, as the held planes allow
  int exponent;           // codecs without scales: what is stored is to be multiplied by 2^exponent
  ScaleRange range;       // of the scales, for codecs that have them
  const uint8_t* scales;  // u8 [64]
  TilePlanes<const uint8_t> planes;
  uint64_t escapes;        // bit i: token i is in an escape record
  uint64_t means;          // keys, bit i: the head's mean key is to be added to token i
  uint32_t first_escape;   // this side's first escape record in the layer
  uint64_t rotation_seed;  // sketches depend on it
  const uint8_t* bands;    // the head's band table, of keys in bands
};

// The view must hold the layer. Nothing is trusted but the header, which the view has validated.
TilePart FindTilePart(const BlockView& block, KvSide side, uint32_t layer, uint32_t kv_head, uint32_t tile);

inline uint32_t TileTokenCount(const BlockSpec& spec, uint32_t tile) {
  const uint32_t rest = spec.tokens - tile * kTileTokens;
  return rest < kTileTokens ? rest : kTileTokens;
}

// Reads the tiles of blocks of one head_dim. Holds scratch memory: one thread at a time.
class TileMatrixReader {
 public:
  TileMatrixReader(KvSide side, uint32_t head_dim);
  // `rope`: how polar codecs pair coordinates. Padding tokens come out as numbers of no meaning.
  void Read(const TilePart& part, const Rope& rope, TileMatrix& out);

 private:
  void ReadValues(const TilePart& part, const Rope& rope, TileMatrix& out);
  void ReadTurbo(const TilePart& part, TileMatrix& out) const;
  void ReadQjl(const TilePart& part, TileMatrix& out);
  void AddResidual(const TilePart& part, TileMatrix& out);
  void ReadBanded(const TilePart& part, const Rope& rope, TileMatrix& out) const;
  void ReadHalf(const TilePart& part, TileMatrix& out) const;
  void ReadPolar(const TilePart& part, const Rope& rope, TileMatrix& out) const;

  CodeMatrix matrix_;
  std::array<TrellisMatrix, 3> trellis_;  // of 1, 2 and 3 bits
  SketchReader sketches_;
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TILE_MATRIX_H_
