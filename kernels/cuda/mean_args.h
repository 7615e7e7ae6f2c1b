// What one launch of an encoder is told about key means, and where things are in its workspace. Plain C++; filled by
// mean_args.cc.
#ifndef POLARKV_KERNELS_CUDA_MEAN_ARGS_H_
#define POLARKV_KERNELS_CUDA_MEAN_ARGS_H_

#include <cstdint>

#include "kernels/cuda/encode_args.h"

namespace polarkv::cuda {

// What taking its mean off every key does to a head: the sum of the keys' squares, and by how much it falls.
struct HeadGain {
  double energy, removed;
};

// Cosines and sines of a position are a row: [pairs] cosines, [pairs] sines.
struct MeanArgs {
  MeanSource source;
  uint32_t pairs;
  bool interleaved;
  const uint64_t* phases;
  float* turns;           // [2] rows of one and of kLongStride positions, then [block][64 * tiles_per_block] rows
  float* rows;            // [block, or 1 if given][layer][KV head][MeanRowFloats]
  uint64_t block_stride;  // of them, in floats
  float* sums;            // [block][layer][KV head][tile][head_dim]; own means alone, as what follows
  double* energies;       // [block][layer][KV head][tile]
  HeadGain* gains;        // [block][layer][KV head]
};

// Every how many tokens long blocks' keys are looked at to decide, and what is long (KeyMeanStride of
// codec/key_mean.h); what sums of squares are trusted (HoldsEnergy there).
inline constexpr uint32_t kLongStride = 4, kLongBlock = 512;
inline constexpr float kLeastHeldEnergy = 0x1p-60f, kMostHeldEnergy = 0x1p100f;

MeanArgs MakeMeanArgs(const EncodeCodec& codec, const EncodeBatch& batch);

// A head of a block, counted over the launch.
POLARKV_HOST_DEVICE inline uint64_t HeadNumber(const EncodeArgs& args, uint32_t block, uint32_t layer, uint32_t head) {
  return (uint64_t{block} * args.layers + layer) * args.kv_heads + head;
}
POLARKV_HOST_DEVICE inline float* MeanRow(const EncodeArgs& args, const MeanArgs& means, uint32_t head_dim,
                                          uint32_t block, uint32_t layer, uint32_t head) {
  return means.rows + block * means.block_stride + HeadNumber(args, 0, layer, head) * MeanRowFloats(head_dim);
}
// The directions of a tile's first token; those of the tokens after it follow.
POLARKV_HOST_DEVICE inline const float* TileTurns(const EncodeArgs& args, const MeanArgs& means, uint32_t block,
                                                  uint32_t tile) {
  return means.turns + (2 + (uint64_t{block} * args.tiles_per_block + tile) * kTileTokens) * (2 * means.pairs);
}
// How a block's keys are looked at to decide.
POLARKV_HOST_DEVICE inline uint32_t DecisionStride(MeanSource source, uint32_t tokens) {
  return source == MeanSource::kOwnWherePaying && tokens >= kLongBlock ? kLongStride : 1;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MEAN_ARGS_H_
