// Which tile a thread block of a decoder has.
#ifndef POLARKV_KERNELS_CUDA_DECODE_TILE_H_
#define POLARKV_KERNELS_CUDA_DECODE_TILE_H_

#include "kernels/cuda/decode_quarter.h"

namespace polarkv::cuda {

// A tile's place among its block's, layers and heads.
struct DecodeCursor {
  uint32_t block, layer, head, tile;
};

// False: the block has no such tile.
POLARKV_WARP_FUNCTION bool FindDecodeTask(const DecodeArgs& args, const DecodeCursor& at, DecodeTask& task) {
  const PageLayer& page = args.pages[uint64_t{at.block} * args.page_stride + at.layer];
  const uint32_t first = at.tile * kTileTokens;
  if (at.tile >= page.tiles || first >= page.tokens) return false;
  const uint64_t index = uint64_t{at.head} * page.tiles + at.tile;
  task.base = page.base + index * args.base_tile_bytes;
  task.planes.payload = task.base + args.payload;
  for (int plane = 0; plane < 2; ++plane) {
    const uint8_t* const bits = page.refine[args.side][plane];
    task.planes.refine[plane] = bits == nullptr ? nullptr : bits + index * args.refine_tile_bytes;
  }
  task.escapes = page.escape_records == 0 ? nullptr : page.escapes;
  task.escape_records = page.escape_records;
  task.mean = args.means.any && page.means != nullptr ? page.means + uint64_t{at.head} * args.record_bytes : nullptr;
  task.position = page.first_position + first;
  task.tokens = page.tokens - first < kTileTokens ? page.tokens - first : kTileTokens;
  return true;
}

// Where the row of a token of the tile goes.
POLARKV_WARP_FUNCTION uint8_t* FindTarget(const DecodeArgs& args, const DecodeCursor& at, const DecodeTask& task,
                                          uint32_t token) {
  if (token >= task.tokens) return nullptr;
  const RowPlace& place = args.places[at.block];
  const uint32_t in_sequence = place.first_token + at.tile * kTileTokens + token;
  const int64_t row = args.rows.Row(place.page_table, place.row_offset, at.layer, at.head, in_sequence);
  return static_cast<uint8_t*>(args.side == 0 ? args.rows.k : args.rows.v) + row * ElementBytes(args.rows.type);
}

// One lane's copies of a quarter's rows out of the stage. copy(to, offset in the stage): 16 bytes.
template <int kDim, ElementType kType, class Copy>
POLARKV_WARP_FUNCTION void DrainRows(uint32_t lane, uint8_t* const* rows, const Copy& copy) {
  using Stage = RowStage<kDim, kType>;
  constexpr uint32_t kParts = Stage::kRowBytes / 16;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kQuarterTokens * kParts / 32; ++i) {
    const uint32_t part = lane + 32 * i;
    uint8_t* const row = rows[part / kParts];
    const uint32_t at = part % kParts * 16;
    if (row != nullptr) copy(row + at, part / kParts * Stage::kStride + at);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DECODE_TILE_H_
