#include "kernels/cuda/encode_args.h"

#include <algorithm>

#include "codec/lane_vectors.h"
#include "codec/rotation.h"
#include "kernels/cuda/batch_check.h"

namespace polarkv::cuda {
namespace {

bool IsTurboKind(CodeKind kind) { return kind == kTurbo2 || kind == kTurbo3 || kind == kTurbo4; }

// Misfits err by at least .06, .14 and .5 of their energy at 4, 3 and 2 bits (codec/side_encoder.h), ordinary tokens by
// .01, .035 and .13. Below these no rounding of a scale to its step makes a misfit.
float MostErrorOfAFit(CodeKind kind) { return kind == kTurbo4 ? .05f : kind == kTurbo3 ? .12f : .45f; }

LaunchError CheckMeans(const EncodeCodec& codec, const EncodeBatch& batch) {
  const EncodeMeans& means = batch.means;
  if (means.source == MeanSource::kNone) return LaunchError::kNone;
  const bool counts = uint64_t{batch.blocks} * batch.tiles_per_block * kTileTokens <= 0x7FFFFFFF;
  const bool given = means.source != MeanSource::kGiven || means.given != nullptr;
  const bool rope = means.pairs == 0 || (means.phases != nullptr && means.pairs <= codec.head_dim / 2);
  if (!counts || !given || !rope) return LaunchError::kUnsupportedShape;
  const bool room = means.workspace_bytes >= EncodeWorkspaceBytes(codec, batch);
  return room ? LaunchError::kNone : LaunchError::kWorkspaceTooSmall;
}

}  // namespace

LaunchError CheckEncode(const EncodeCodec& codec, const EncodeBatch& batch) {
  if (!IsTurboKind(codec.key_kind) || !IsTurboKind(codec.value_kind)) return LaunchError::kUnsupportedShape;
  const LaunchError error = CheckBatch(codec.head_dim, batch);
  return error == LaunchError::kNone ? CheckMeans(codec, batch) : error;
}

EncodeArgs MakeEncodeArgs(const EncodeCodec& codec, const EncodeBatch& batch, KvSide side) {
  EncodeArgs args{};
  args.rows = batch.rows;
  args.places = batch.places;
  args.blocks = batch.blocks;
  args.tiles_per_block = batch.tiles_per_block;
  args.layers = batch.layers;
  args.kv_heads = batch.kv_heads;
  args.side = side == KvSide::kKey ? 0 : 1;
  // Turbo codes of 2 to 4 bits have their crumbs in the base plane; see codec/block_layout.h.
  const uint32_t crumbs = kTileTokens / 4 * codec.head_dim;
  args.scales = sizeof(TileHead) + args.side * kTileTokens;
  args.payload = sizeof(TileHead) + 2 * kTileTokens + args.side * crumbs;
  args.tile_bytes = sizeof(TileHead) + 2 * kTileTokens + 2 * crumbs;
  const auto signs = RotationSigns(codec.rotation_seed);
  for (uint32_t j = 0; j < codec.head_dim; ++j) args.signs[j / 32] |= (signs[j] < 0 ? 1u : 0u) << j % 32;
  args.gain = RotationGain(codec.head_dim);
  args.rotated_norm = RotatedNorm(codec.head_dim);
  args.most_error = MostErrorOfAFit(side == KvSide::kKey ? codec.key_kind : codec.value_kind);
  std::ranges::copy(kOctaveThresholds, args.octave);
  return args;
}

}  // namespace polarkv::cuda
