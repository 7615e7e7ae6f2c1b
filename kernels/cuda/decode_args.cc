#include "kernels/cuda/decode_args.h"

#include <algorithm>

#include "codec/rotation.h"
#include "kernels/cuda/batch_check.h"

namespace polarkv::cuda {
namespace {

bool HasKernel(CodeKind kind) {
  return kind == kTurbo2 || kind == kTurbo3 || kind == kTurbo4 || kind == kTrellis1 || kind == kTrellis2 ||
         kind == kTrellis3;
}

// Of turbo codes the base plane has the crumbs, of trellis codes it has everything.
uint32_t PayloadBytes(CodeKind kind, uint32_t head_dim) {
  return kTileTokens / 8 * head_dim * static_cast<uint32_t>(IsTrellisKind(kind) ? BitsOfKind(kind) : 2);
}

}  // namespace

LaunchError CheckDecode(const AttentionCodec& codec, const DecodeBatch& batch) {
  if (!HasKernel(codec.key_kind) || !HasKernel(codec.value_kind)) return LaunchError::kUnsupportedShape;
  if (!IsSound(codec.means, codec.head_dim)) return LaunchError::kUnsupportedShape;
  return CheckBatch(codec.head_dim, batch);
}

DecodeArgs MakeDecodeArgs(const AttentionCodec& codec, const DecodeBatch& batch, KvSide side) {
  DecodeArgs args{};
  args.rows = batch.rows;
  args.pages = batch.pages;
  args.places = batch.places;
  args.page_stride = batch.page_stride;
  args.blocks = batch.blocks;
  args.tiles_per_block = batch.tiles_per_block;
  args.layers = batch.layers;
  args.kv_heads = batch.kv_heads;
  args.side = side == KvSide::kKey ? 0 : 1;
  args.base_tile_bytes = codec.base_tile_bytes;
  args.refine_tile_bytes = codec.refine_tile_bytes;
  args.scales = sizeof(TileHead) + args.side * kTileTokens;
  args.payload = sizeof(TileHead) + 2 * kTileTokens + args.side * PayloadBytes(codec.key_kind, codec.head_dim);
  const auto signs = RotationSigns(codec.rotation_seed);
  for (uint32_t j = 0; j < codec.head_dim; ++j) args.signs[j / 32] |= (signs[j] < 0 ? 1u : 0u) << j % 32;
  args.rotation_scale = RotationScale(codec.head_dim);
  std::ranges::copy(kOctave, args.octave);
  args.record_bytes = VectorRecordBytes(codec.head_dim);
  args.means = codec.means;
  return args;
}

}  // namespace polarkv::cuda
