#include "kernels/cuda/decode_args.h"

#include <algorithm>

#include "codec/rotation.h"

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

const char* DecodeErrorText(DecodeError error) {
  switch (error) {
    case DecodeError::kNone:
      return "no error";
    case DecodeError::kUnsupportedShape:
      return "no kernel for this shape: head_dim 64, 128 or 256; turbo2 to turbo4, trellis1 to trellis3; at least one "
             "block, "
             "layer and head, at most 65535 layers and heads";
    case DecodeError::kMisalignedRows:
      return "keys and values must begin at multiples of 16 bytes, and so must their rows, heads, layers and pages";
    case DecodeError::kNoDevice:
      return "no CUDA device, or no kernel for its architecture (sm_80 and later)";
    case DecodeError::kLaunchFailed:
      return "the launch failed; the stream's earlier work may have";
  }
  return "";
}

DecodeError CheckDecode(const AttentionCodec& codec, const DecodeBatch& batch) {
  const bool dim = codec.head_dim == 64 || codec.head_dim == 128 || codec.head_dim == 256;
  if (!dim || !HasKernel(codec.key_kind) || !HasKernel(codec.value_kind) || batch.blocks == 0 ||
      batch.tiles_per_block == 0 || batch.layers == 0 || batch.kv_heads == 0 || batch.layers > 65535 ||
      batch.kv_heads > 65535 || uint64_t{batch.blocks} * batch.tiles_per_block > 0x7FFFFFFF) {
    return DecodeError::kUnsupportedShape;
  }
  return IsAligned(batch.rows) ? DecodeError::kNone : DecodeError::kMisalignedRows;
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
  return args;
}

}  // namespace polarkv::cuda
