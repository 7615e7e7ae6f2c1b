#include "kernels/cuda/mean_args.h"

#include <cstddef>

#include "codec/key_mean.h"

namespace polarkv::cuda {
namespace {

static_assert(kLongBlock % kTileTokens == 0 && kTileTokens % kLongStride == 0);
static_assert(KeyMeanStride(kLongBlock) == kLongStride && KeyMeanStride(kLongBlock - 1) == 1);
static_assert(HoldsEnergy(kLeastHeldEnergy) && !HoldsEnergy(0x1.fffffep-61f));
static_assert(HoldsEnergy(kMostHeldEnergy) && !HoldsEnergy(0x1.000002p100f));

// Parts of the workspace follow each other at multiples of 16 bytes.
class Workspace {
 public:
  explicit Workspace(void* first) : first_(static_cast<uint8_t*>(first)) {}
  template <class T>
  T* Take(uint64_t count) {
    T* const part = first_ == nullptr ? nullptr : reinterpret_cast<T*>(first_ + bytes_);
    bytes_ += (count * sizeof(T) + 15) / 16 * 16;
    return part;
  }
  uint64_t bytes() const { return bytes_; }

 private:
  uint8_t* first_;
  uint64_t bytes_ = 0;
};

uint64_t LayOut(const EncodeCodec& codec, const EncodeBatch& batch, MeanArgs& args) {
  const uint64_t tiles = uint64_t{batch.blocks} * batch.tiles_per_block;
  const uint64_t layer_heads = uint64_t{batch.layers} * batch.kv_heads;
  Workspace workspace(batch.means.workspace);
  args.turns = workspace.Take<float>((2 + tiles * kTileTokens) * 2 * batch.means.pairs);
  if (!AreOwn(batch.means.source)) return workspace.bytes();
  args.block_stride = layer_heads * MeanRowFloats(codec.head_dim);
  args.rows = workspace.Take<float>(batch.blocks * args.block_stride);
  args.gains = workspace.Take<HeadGain>(batch.blocks * layer_heads);
  args.sums = workspace.Take<float>(layer_heads * tiles * codec.head_dim);
  args.energies = workspace.Take<double>(layer_heads * tiles);
  return workspace.bytes();
}

}  // namespace

MeanArgs MakeMeanArgs(const EncodeCodec& codec, const EncodeBatch& batch) {
  MeanArgs args{};
  args.source = batch.means.source;
  args.pairs = batch.means.pairs;
  args.interleaved = batch.means.interleaved;
  args.phases = batch.means.phases;
  args.rows = const_cast<float*>(batch.means.given);  // NOLINT: kernels write own means alone
  LayOut(codec, batch, args);
  return args;
}

uint64_t EncodeWorkspaceBytes(const EncodeCodec& codec, const EncodeBatch& batch) {
  if (batch.means.source == MeanSource::kNone) return 0;
  MeanArgs args{};
  return LayOut(codec, batch, args);
}

}  // namespace polarkv::cuda
