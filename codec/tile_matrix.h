// One side of one tile as numbers, as far as its planes were fetched.
#ifndef POLARKV_CODEC_TILE_MATRIX_H_
#define POLARKV_CODEC_TILE_MATRIX_H_

#include <array>
#include <cstdint>

#include "codec/block_view.h"
#include "codec/code_planes.h"
#include "codec/kv_side.h"

namespace polarkv {

// A coordinate of a token is value * factor[token]; of the rotated vector for turbo codecs, of the vector itself for
// others. Rows and columns as in code_planes.h: keys [token][coordinate], values [coordinate][token].
struct TileMatrix {
  alignas(64) std::array<float, kMaxTileCodes> value;
  std::array<double, kTileTokens> factor;
};

// What a reader knows of a tile besides its numbers.
struct TilePart {
  CodecId codec;
  uint32_t bits;                     // of turbo codes, as the held planes allow
  int exponent;                      // what is stored is to be multiplied by 2^exponent
  const uint8_t* scales;             // fp16 [64]; turbo codecs only
  CodePlanes<const uint8_t> planes;  // crumbs: the side's payload in the base plane, whatever the codec
};

inline uint32_t TileTokenCount(const BlockSpec& spec, uint32_t tile) {
  const uint32_t rest = spec.tokens - tile * kTileTokens;
  return rest < kTileTokens ? rest : kTileTokens;
}

// The view must hold the layer. Nothing is trusted but the header, which the view has validated.
TilePart FindTilePart(const BlockView& block, KvSide side, uint32_t layer, uint32_t kv_head, uint32_t tile);
// Padding tokens come out as finite numbers of no meaning.
void ReadTileMatrix(const BlockSpec& spec, KvSide side, const TilePart& part, TileMatrix& out);

}  // namespace polarkv

#endif  // POLARKV_CODEC_TILE_MATRIX_H_
