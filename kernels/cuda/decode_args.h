// What one launch of a decoder is told about one side, keys or values. Plain C++; filled by decode_args.cc.
#ifndef POLARKV_KERNELS_CUDA_DECODE_ARGS_H_
#define POLARKV_KERNELS_CUDA_DECODE_ARGS_H_

#include <cstdint>

#include "codec/kv_side.h"
#include "codec/log_scale.h"
#include "kernels/cuda/decode.h"

namespace polarkv::cuda {

struct DecodeArgs {
  TokenRows rows;
  const PageLayer* pages;
  const RowPlace* places;
  uint32_t page_stride, blocks, tiles_per_block, layers, kv_heads;
  uint32_t side;  // 0: keys, 1: values
  uint32_t base_tile_bytes, refine_tile_bytes;
  uint32_t scales, payload;   // this side's, in a tile of the base plane
  uint32_t signs[8];          // bit j % 32 of word j / 32: the rotation negates coordinate j
  float rotation_scale;       // RotationScale
  float octave[kScaleSteps];  // kOctave
  uint32_t record_bytes;      // of a key mean
  KeyMeanTurns means;
};

DecodeArgs MakeDecodeArgs(const AttentionCodec& codec, const DecodeBatch& batch, KvSide side);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DECODE_ARGS_H_
