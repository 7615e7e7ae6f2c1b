#include "kernels/cuda/attention_args.h"

#include <algorithm>

#include "codec/rotation.h"
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

// Kernels exist for turbo keys with turbo values and for trellis keys with trellis values.
bool HasKernel(CodeKind key, CodeKind value) {
  const auto known = [](CodeKind kind) {
    return kind == kTurbo2 || kind == kTurbo3 || kind == kTurbo4 || kind == kTrellis2 || kind == kTrellis3;
  };
  return known(key) && known(value) && IsTrellisKind(key) == IsTrellisKind(value);
}

}  // namespace

bool IsSupported(const AttentionCodec& codec, const AttentionBatch& batch) {
  const bool dim = codec.head_dim == 64 || codec.head_dim == 128 || codec.head_dim == 256;
  return dim && IsSound(codec.means, codec.head_dim) && HasKernel(codec.key_kind, codec.value_kind) && batch.sequences >= 1 &&
         batch.kv_heads >= 1 && batch.tiles_per_page >= 1 && batch.group >= 1 && batch.group <= 16 &&
         batch.queries >= 1 && batch.queries <= 16;
}

AttentionArgs MakeAttentionArgs(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps,
                                void* workspace, size_t& bytes) {
  AttentionArgs args{};
  args.batch = batch;
  args.rows = batch.group * batch.queries;
  args.row_groups = args.rows > 8 ? 2 : 1;
  args.passes = (args.rows + 8 * args.row_groups - 1) / (8 * args.row_groups);
  args.warps = warps;
  args.base_tile_bytes = codec.base_tile_bytes;
  args.refine_tile_bytes = codec.refine_tile_bytes;
  args.head_dim = codec.head_dim;
  args.key_kind = codec.key_kind;
  args.value_kind = codec.value_kind;
  std::ranges::copy(codec.key_image, args.key_image);
  std::ranges::copy(codec.value_image, args.value_image);
  args.output_unit = RotationScale(codec.head_dim);
  args.log2_unit = batch.scale * kLog2E;
  args.query_unit = args.output_unit * args.log2_unit;
  const auto signs = RotationSigns(codec.rotation_seed);
  for (uint32_t j = 0; j < codec.head_dim; ++j) args.signs[j / 32] |= (signs[j] < 0 ? 1u : 0u) << j % 32;

  const uint64_t heads = uint64_t{batch.sequences} * batch.kv_heads;
  const uint64_t slots = PartialSlots(warps, heads * args.passes) * args.row_groups;
  Carver carver(workspace);
  args.tile_prefix = carver.Take<uint32_t>(batch.sequences + 1);
  args.queries = carver.Take<int8_t>(heads * args.padded_rows() * codec.head_dim);
  args.query_scales = carver.Take<float>(heads * args.padded_rows());
  args.partial_output = carver.Take<float>(slots * 8 * codec.head_dim);
  args.partial_state = carver.Take<float>(slots * 16);
  if (codec.means.any) {
    args.interleaved = codec.means.interleaved;
    args.rope_dims = codec.means.rope_dims;
    args.mean_table = carver.Take<uint8_t>(MeanTableBytes(codec.head_dim));
    args.mean_queries = carver.Take<float>(heads * args.padded_rows() * codec.head_dim);
    args.mean_units = carver.Take<float>(heads * args.padded_rows());
  }
  bytes = carver.bytes();
  return args;
}

size_t AttentionWorkspaceBytes(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps) {
  size_t bytes = 0;
  if (IsSupported(codec, batch)) MakeAttentionArgs(codec, batch, warps, nullptr, bytes);
  return bytes;
}

}  // namespace polarkv::cuda
