// What one launch of an encoder is told about one side, keys or values. Plain C++; filled by encode_args.cc.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_ARGS_H_
#define POLARKV_KERNELS_CUDA_ENCODE_ARGS_H_

#include <cstdint>

#include "codec/codec_id.h"
#include "codec/kv_side.h"
#include "codec/log_scale.h"
#include "kernels/cuda/encode.h"

namespace polarkv::cuda {

struct EncodeArgs {
  TokenRows rows;
  const EncodedPlace* places;
  uint32_t blocks, tiles_per_block, layers, kv_heads;
  uint32_t side;            // 0: keys, 1: values
  uint32_t tile_bytes;      // of the base plane
  uint32_t scales, payload; // this side's, in a tile of the base plane
  uint32_t signs[8];        // bit j % 32 of word j / 32: the rotation negates coordinate j
  float gain;               // RotationGain
  float rotated_norm;       // RotatedNorm
  float most_error;         // relative squared error of a token that is surely no misfit
  float octave[kScaleSteps];  // kOctaveThresholds
};

// The turbo codec whose codes have so many bits.
constexpr CodecId TurboOfBits(int bits) {
  return bits == 2 ? CodecId::kTurbo2 : bits == 3 ? CodecId::kTurbo3 : CodecId::kTurbo4;
}

EncodeArgs MakeEncodeArgs(const EncodeCodec& codec, const EncodeBatch& batch, KvSide side);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_ARGS_H_
