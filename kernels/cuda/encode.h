// Keys and values in device memory -> tiles of blocks in device memory, byte for byte those of the reference.
//
// Plain C++, no exceptions; nothing here synchronises with the device or allocates. All pointers are device pointers
// unless said otherwise, and must stay valid until the stream has passed the launch. Thread-safe.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_H_
#define POLARKV_KERNELS_CUDA_ENCODE_H_

#include <cstdint>

#include "kernels/cuda/encode_means.h"
#include "kernels/cuda/launch_error.h"
#include "kernels/cuda/permute_tables.h"
#include "kernels/cuda/token_rows.h"

namespace polarkv::cuda {

// What the host must know of a tile; [key, value]. Masks: bit i is token i of the tile.
struct TileReport {
  uint64_t not_finite[2];  // tokens with a NaN or an infinity: they cannot be encoded
  uint64_t doubtful[2];    // tokens whose codes may err by more than an encoder should let stand
  uint32_t coarse[2];      // not 0: the tile's scales needed a shift
  uint32_t has_means;      // not 0: the block has means of its own in this layer
  uint32_t reserved;
};

// One block to write, of the layers of a launch.
struct EncodedPlace {
  uint8_t* base = nullptr;          // tile 0 of head 0 of the launch's first layer; 64-byte aligned
  uint8_t* refine[2][2] = {};  // [key, value][first, second refinement plane], likewise; null where the codec has none
  uint64_t layer_bytes = 0;         // from one layer's tiles to the next one's
  TileReport* reports = nullptr;    // [layer][KV head][tile]
  const int32_t* page_table = nullptr;  // of the block's sequence; only of rows in pages
  int64_t row_offset = 0;           // elements; only of rows without pages: where the sequence begins
  uint32_t first_token = 0;         // of the block, in the sequence's rows
  uint32_t tokens = 0;              // at least 1
  uint32_t raw_tokens = 0;          // of them the first ones are not coded; they escape
  uint64_t first_position = 0;      // of the block, in its sequence; only of means
  uint8_t* records = nullptr;       // of the first layer's means, before its tiles; only of the block's own means
};

// How blocks are coded; the same for all blocks of a launch.
struct EncodeCodec {
  uint32_t head_dim = 0;  // 64, 128, 256
  CodeKind key_kind = kTurbo4, value_kind = kTurbo4;  // any
  uint64_t rotation_seed = 0;
};

struct EncodeBatch {
  TokenRows rows;
  const EncodedPlace* places = nullptr;  // [blocks]
  uint32_t blocks = 0;
  uint32_t tiles_per_block = 0;  // of the largest block
  uint32_t layers = 0, kv_heads = 0;
  EncodeMeans means = {};
};

// What a launch needs as EncodeMeans::workspace: nothing without means. From the shapes alone.
uint64_t EncodeWorkspaceBytes(const EncodeCodec& codec, const EncodeBatch& batch);
// kNone, or what a launch would refuse. Needs no device.
LaunchError CheckEncode(const EncodeCodec& codec, const EncodeBatch& batch);
// Starts two kernels on `stream` (a cudaStream_t), up to seven with means. Writes every byte of the tiles, first_escape
// of their heads counting the raw tokens' escapes, and all reports; where a layer has means of its own, their records.
// Of what is refused nothing is started; after kLaunchFailed some kernels may be under way.
LaunchError LaunchEncode(const EncodeCodec& codec, const EncodeBatch& batch, void* stream);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_H_
