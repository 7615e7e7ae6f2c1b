#include "kernels/cuda/encode_args.h"

#include <algorithm>

#include "codec/lane_vectors.h"
#include "codec/rotation.h"
#include "kernels/cuda/batch_check.h"

namespace polarkv::cuda {
namespace {

// Misfits err by at least .06, .14 and .5 of their energy as turbo codes of 4, 3 and 2 bits, .11, .39 and 1.7 as
// trellis codes of 3, 2 and 1 (codec/side_encoder.h), ordinary tokens by a fourth. Below these no rounding of a scale
// to its step makes a misfit.
float MostErrorOfAFit(CodeKind kind) {
  switch (kind) {
    case kTurbo4:
      return .05f;
    case kTurbo3:
      return .12f;
    case kTurbo2:
      return .45f;
    case kTrellis3:
      return .095f;
    case kTrellis2:
      return .33f;
    case kTrellis1:
      return 1.5f;
    default:
      return 0;
  }
}

RowSigns SignsOf(const EncodeCodec& codec) {
  RowSigns signs{};
  const auto sign = RotationSigns(codec.rotation_seed);
  for (uint32_t j = 0; j < codec.head_dim; ++j) {
    const uint32_t negated = sign[j] < 0 ? 1 : 0;
    signs.single[j / 32] |= negated << j % 32;
    signs.paired[j / 32] |= negated << (j % 32 / 2 + j % 2 * 16);
  }
  return signs;
}

void SetLevels(CodeKind kind, EncodeArgs& args) {
  const TrellisCodebook& book = TrellisCodebookFor(static_cast<uint32_t>(BitsOfKind(kind)));
  args.to_unit_variance = kToUnitVariance;
  for (uint32_t window = 0; window < kTrellisWindows; ++window) {
    args.levels[window] = static_cast<float>(book.image[window]) * book.unit;
    const uint32_t before = window >> 3, own = window & 1, upper = window >> 1 & 3;
    args.grouped_levels[(before * 2 + own) * 4 + upper] = args.levels[window];
  }
}

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
  if (!IsCodeKind(codec.key_kind) || !IsCodeKind(codec.value_kind)) return LaunchError::kUnsupportedShape;
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
  const CodeKind kind = side == KvSide::kKey ? codec.key_kind : codec.value_kind;
  const uint32_t payload[2] = {PayloadBytes(TraitsOf(CodecOfKind(codec.key_kind)), codec.head_dim),
                               PayloadBytes(TraitsOf(CodecOfKind(codec.value_kind)), codec.head_dim)};
  args.scales = sizeof(TileHead) + args.side * kTileTokens;
  args.payload = sizeof(TileHead) + 2 * kTileTokens + args.side * payload[0];
  args.tile_bytes = sizeof(TileHead) + 2 * kTileTokens + payload[0] + payload[1];
  args.signs = SignsOf(codec);
  args.gain = RotationGain(codec.head_dim);
  args.rotated_norm = RotatedNorm(codec.head_dim);
  args.most_error = MostErrorOfAFit(kind);
  if (IsTrellisKind(kind)) SetLevels(kind, args);
  std::ranges::copy(kOctaveThresholds, args.octave);
  std::ranges::copy(MakeSignedImageTables().word, args.signed_images);
  return args;
}

}  // namespace polarkv::cuda
