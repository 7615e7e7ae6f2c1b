#include "kernels/cuda/attention_args.h"

#include <algorithm>

#include "codec/block_format.h"
#include "codec/rotation.h"
#include "codec/sign_projection.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/mean_table.h"

namespace polarkv::cuda {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr size_t kWorkspaceAlignment = 256;

// Hands out parts of the workspace one after the other.
class Carver {
 public:
  explicit Carver(void* workspace) : at_(reinterpret_cast<uintptr_t>(workspace)) {}
  template <class T>
  T* Take(uint64_t count) {
    T* const part = reinterpret_cast<T*>(at_ + bytes_);  // only a number while the workspace is null
    bytes_ += (count * sizeof(T) + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
    return part;
  }
  size_t bytes() const { return bytes_; }

 private:
  uintptr_t at_;
  size_t bytes_ = 0;
};

bool IsKeyKind(CodeKind kind) {
  return IsCodeKind(kind) || kind == kSigns1 || kind == kSigns2 || kind == kSigns4 || kind == kPolar44;
}

// Bit j % 32 of word j / 32: coordinate j is negated.
void StoreSigns(uint64_t seed, uint32_t head_dim, uint32_t (&words)[8]) {
  const auto signs = RotationSigns(seed);
  for (uint32_t j = 0; j < head_dim; ++j) words[j / 32] |= (signs[j] < 0 ? 1u : 0u) << j % 32;
}

}  // namespace

bool IsSupported(const AttentionCodec& codec, const AttentionBatch& batch) {
  const bool dim = codec.head_dim == 64 || codec.head_dim == 128 || codec.head_dim == 256;
  return dim && IsSound(codec.means, codec.head_dim) && codec.pair_dims <= codec.head_dim && IsKeyKind(codec.key_kind) &&
         IsCodeKind(codec.value_kind) && batch.sequences >= 1 &&
         batch.kv_heads >= 1 && batch.tiles_per_page >= 1 && batch.group >= 1 && batch.group <= 16 &&
         batch.queries >= 1 && batch.queries <= 16;
}

namespace {

// All but what is left in the workspace for the merge.
// `unit`: of <q, k> in what is computed.
AttentionArgs MakeQueryArgs(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps, float unit,
                            Carver& carver) {
  AttentionArgs args{};
  args.batch = batch;
  args.rows = batch.group * batch.queries;
  args.row_groups = args.rows > 8 && IsCodeKind(codec.key_kind) ? 2 : 1;
  args.passes = (args.rows + 8 * args.row_groups - 1) / (8 * args.row_groups);
  args.warps = warps;
  args.base_tile_bytes = codec.base_tile_bytes;
  args.refine_tile_bytes = codec.refine_tile_bytes;
  args.key_payload_at = sizeof(TileHead) + (HasKeyScales(codec.key_kind) ? 2 : 1) * kTileTokens;
  args.key_payload_bytes = codec.head_dim * PayloadBytesPerDim(codec.key_kind);
  args.head_dim = codec.head_dim;
  args.key_kind = codec.key_kind;
  args.value_kind = codec.value_kind;
  std::ranges::copy(codec.key_image, args.key_image);
  std::ranges::copy(codec.value_image, args.value_image);
  args.output_unit = RotationScale(codec.head_dim);
  args.logit_unit = unit;
  args.query_unit = args.output_unit * unit;
  StoreSigns(codec.rotation_seed, codec.head_dim, args.signs);
  if (IsSignKind(codec.key_kind)) {
    const auto projections = static_cast<uint32_t>(BitsOfKind(codec.key_kind));
    for (uint32_t i = 0; i < 2 * projections; ++i) {
      StoreSigns(SignProjection::FactorSeed(codec.rotation_seed, i), codec.head_dim, args.projection_signs[i / 2][i % 2]);
    }
    // A key is its scale times 64 times the sum of its projections, FORMAT.md, "Sign sketches".
    args.key_query_unit = args.query_unit * 64 * SketchConstant(codec.head_dim) /
                          static_cast<float>(projections * codec.head_dim);
    args.key_query_bytes = projections * codec.head_dim;
  } else if (codec.key_kind == kPolar44) {
    args.key_query_unit = unit;
    args.key_query_bytes = 2 * codec.head_dim;
    args.pair_dims = codec.pair_dims;
    args.pairs_interleaved = codec.pairs_interleaved;
  }

  const uint64_t heads = uint64_t{batch.sequences} * batch.kv_heads;
  args.tile_prefix = carver.Take<uint32_t>(batch.sequences + 1);
  args.queries = carver.Take<int8_t>(heads * args.padded_rows() * codec.head_dim);
  args.query_scales = carver.Take<float>(heads * args.padded_rows());
  if (args.key_query_bytes > 0) {
    args.key_queries = carver.Take<uint8_t>(heads * args.padded_rows() * args.key_query_bytes);
    args.key_query_scales = carver.Take<float>(heads * args.padded_rows());
  }
  if (codec.means.any) {
    args.interleaved = codec.means.interleaved;
    args.rope_dims = codec.means.rope_dims;
    args.mean_table = carver.Take<uint8_t>(MeanTableBytes(codec.head_dim));
    args.mean_queries = carver.Take<float>(heads * args.padded_rows() * codec.head_dim);
    args.mean_units = carver.Take<float>(heads * args.padded_rows());
  }
  return args;
}

}  // namespace

AttentionArgs MakeAttentionArgs(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps,
                                void* workspace, size_t& bytes) {
  Carver carver(workspace);
  AttentionArgs args = MakeQueryArgs(codec, batch, warps, batch.scale * kLog2E, carver);
  const uint64_t lines = uint64_t{batch.sequences} * batch.kv_heads * args.passes;
  const uint64_t slots = PartialSlots(warps, lines) * args.row_groups;
  args.partial_output = carver.Take<float>(slots * 8 * codec.head_dim);
  args.partial_state = carver.Take<float>(slots * 16);
  bytes = carver.bytes();
  return args;
}

size_t AttentionWorkspaceBytes(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps) {
  size_t bytes = 0;
  if (IsSupported(codec, batch)) MakeAttentionArgs(codec, batch, warps, nullptr, bytes);
  return bytes;
}

ScoresArgs MakeScoresArgs(const AttentionCodec& codec, const AttentionBatch& batch, const ScoresTarget& target,
                          uint32_t warps, void* workspace, size_t& bytes) {
  Carver carver(workspace);
  const ScoresArgs args{MakeQueryArgs(codec, batch, warps, batch.scale, carver), target};
  bytes = carver.bytes();
  return args;
}

size_t ScoresWorkspaceBytes(const AttentionCodec& codec, const AttentionBatch& batch) {
  size_t bytes = 0;
  if (IsSupported(codec, batch)) MakeScoresArgs(codec, batch, {}, 1, nullptr, bytes);
  return bytes;
}

}  // namespace polarkv::cuda
