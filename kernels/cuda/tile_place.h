// Where the tile of a unit lies in device memory.
#ifndef POLARKV_KERNELS_CUDA_TILE_PLACE_H_
#define POLARKV_KERNELS_CUDA_TILE_PLACE_H_

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/tile_stage.h"

namespace polarkv::cuda {

struct TilePlace {
  TileAddress address;
  uint32_t tokens;
};

POLARKV_HOST_DEVICE inline uint32_t SmallerOf(uint32_t a, uint32_t b) { return a < b ? a : b; }

POLARKV_HOST_DEVICE inline const PageLayer& FindPage(const AttentionArgs& args, const UnitCursor& at) {
  const AttentionBatch& batch = args.batch;
  const int32_t page =
      batch.page_table[uint64_t{at.sequence} * batch.page_table_stride + at.tile / batch.tiles_per_page];
  return batch.pages[static_cast<uint64_t>(page) * batch.page_stride];
}

POLARKV_HOST_DEVICE inline TilePlace FindTile(const AttentionArgs& args, const UnitCursor& at) {
  const AttentionBatch& batch = args.batch;
  const uint32_t in_page = at.tile % batch.tiles_per_page;
  const PageLayer& layer = FindPage(args, at);
  const uint64_t index = uint64_t{at.kv_head} * layer.tiles + in_page;
  TilePlace place;
  place.address.key_kind = args.key_kind;
  place.address.value_kind = args.value_kind;
  place.address.base = layer.base + index * args.base_tile_bytes;
  place.address.payload[0] = place.address.base + args.key_payload_at;
  place.address.payload[1] = place.address.payload[0] + args.key_payload_bytes;
  for (int side = 0; side < 2; ++side) {
    for (int plane = 0; plane < 2; ++plane) {
      const uint8_t* refine = layer.refine[side][plane];
      place.address.refine[side][plane] = refine == nullptr ? nullptr : refine + index * args.refine_tile_bytes;
    }
  }
  place.tokens = SmallerOf(64, SmallerOf(batch.tokens[at.sequence] - 64 * at.tile, layer.tokens - 64 * in_page));
  return place;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TILE_PLACE_H_
