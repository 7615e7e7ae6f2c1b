// Which tile a thread block of an encoder has, and its four warps' shares of it.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_TILE_H_
#define POLARKV_KERNELS_CUDA_ENCODE_TILE_H_

#include "kernels/cuda/encode_quarter.h"

namespace polarkv::cuda {

// A tile's place among its block's, layers and heads.
struct EncodeCursor {
  uint32_t block, layer, head, tile;
};

// False: the block has no such tile.
POLARKV_WARP_FUNCTION bool FindTileTask(const EncodeArgs& args, const EncodedPlace& place, const EncodeCursor& at,
                                        TileTask& task) {
  const uint32_t first = at.tile * kTileTokens;
  if (first >= place.tokens) return false;
  const uint32_t tiles = (place.tokens + kTileTokens - 1) / kTileTokens;
  const uint64_t in_layer = uint64_t{at.head} * tiles + at.tile;
  task.base = place.base + at.layer * place.layer_bytes + in_layer * args.tile_bytes;
  task.report = place.reports + (uint64_t{at.layer} * args.kv_heads) * tiles + in_layer;
  task.tokens = place.tokens - first < kTileTokens ? place.tokens - first : kTileTokens;
  const uint32_t raw = place.raw_tokens < place.tokens ? place.raw_tokens : place.tokens;
  task.raw = raw > first ? (raw - first < kTileTokens ? raw - first : kTileTokens) : 0;
  task.first_escape = 2 * (at.head * raw + (raw < first ? raw : first));
  return true;
}

template <int kDim>
POLARKV_WARP_FUNCTION SidePlanes FindSidePlanes(const EncodeArgs& args, const EncodedPlace& place,
                                                const EncodeCursor& at, const TileTask& task) {
  const uint32_t tiles = (place.tokens + kTileTokens - 1) / kTileTokens;
  const uint64_t offset = at.layer * place.layer_bytes + (uint64_t{at.head} * tiles + at.tile) * (8 * kDim);
  return {task.base + args.payload, {place.refine[args.side][0] + offset, place.refine[args.side][1] + offset}};
}

// Where the row of a token of the tile is.
POLARKV_WARP_FUNCTION const uint8_t* FindRow(const EncodeArgs& args, const EncodedPlace& place, const EncodeCursor& at,
                                             const TileTask& task, uint32_t token) {
  if (token >= task.tokens) return nullptr;
  const uint32_t in_sequence = place.first_token + at.tile * kTileTokens + token;
  const int64_t row = args.rows.Row(place.page_table, place.row_offset, at.layer, at.head, in_sequence);
  return static_cast<const uint8_t*>(args.side == 0 ? args.rows.k : args.rows.v) + row * ElementBytes(args.rows.type);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_TILE_H_
