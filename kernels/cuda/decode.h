// Blocks in device memory -> keys and values in device memory: the reference's floats, rounded to the rows' type
// (nearest even, magnitudes beyond its largest finite number becoming that).
//
// Plain C++, no exceptions; nothing here synchronises with the device or allocates, and no workspace is needed. All
// pointers are device pointers unless said otherwise, and must stay valid until the stream has passed the launch.
// Thread-safe.
#ifndef POLARKV_KERNELS_CUDA_DECODE_H_
#define POLARKV_KERNELS_CUDA_DECODE_H_

#include <cstdint>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/launch_error.h"
#include "kernels/cuda/token_rows.h"

namespace polarkv::cuda {

// Where a block's tokens go.
struct RowPlace {
  const int32_t* page_table = nullptr;  // of the block's sequence; only of rows in pages
  int64_t row_offset = 0;               // elements; only of rows without pages: where the sequence begins
  uint32_t first_token = 0;             // of the block, in the sequence's rows
};

struct DecodeBatch {
  TokenRows rows;
  const PageLayer* pages = nullptr;  // [block * page_stride + layer]
  uint32_t page_stride = 1;
  const RowPlace* places = nullptr;  // [blocks]
  uint32_t blocks = 0;
  uint32_t tiles_per_block = 0;  // of the largest block
  uint32_t layers = 0, kv_heads = 0;
};

// kNone, or what a launch would refuse: kUnsupportedShape, kMisalignedRows. Needs no device.
LaunchError CheckDecode(const AttentionCodec& codec, const DecodeBatch& batch);
// Starts two kernels on `stream` (a cudaStream_t); any mix of turbo2 to turbo4 and trellis1 to trellis3 for keys and
// values. Of what is refused nothing is started; after kLaunchFailed some kernels may be under way.
LaunchError LaunchDecode(const AttentionCodec& codec, const DecodeBatch& batch, void* stream);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DECODE_H_
