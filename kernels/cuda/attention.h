// Attention of a batch of sequences on blocks that lie in device memory, as they were encoded.
//
// Plain C++, no exceptions; nothing here synchronises with the device or allocates. All pointers are device pointers
// unless said otherwise, and must stay valid until the stream has passed the launch. Thread-safe.
#ifndef POLARKV_KERNELS_CUDA_ATTENTION_H_
#define POLARKV_KERNELS_CUDA_ATTENTION_H_

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/element_type.h"
#include "kernels/cuda/launch_error.h"
#include "kernels/cuda/permute_tables.h"
#include "kernels/cuda/rope_pairs.h"

namespace polarkv::cuda {

// One layer of one resident block: where its planes begin, tile 0 of KV head 0. Planes that are not there are null.
struct PageLayer {
  const uint8_t* base = nullptr;
  const uint8_t* refine[2][2] = {};  // [key, value][first, second refinement plane]
  const uint8_t* escapes = nullptr;  // the layer's escape records
  const uint8_t* means = nullptr;    // records of the layer's key means from KV head 0 on, in the block or a profile
  uint64_t first_position = 0;       // of the block's tokens
  uint32_t tiles = 0;                // per KV head
  uint32_t tokens = 0;
  uint32_t escape_records = 0;
};

struct AttentionBatch {
  uint32_t sequences = 0;
  uint32_t kv_heads = 0;
  uint32_t group = 1;    // query heads that share a KV head
  uint32_t queries = 1;  // query tokens of each sequence
  // Sequence s is the blocks page_table[s * page_table_stride + i], each of tiles_per_page tiles but for its last one; of
  // those tokens it attends to the first tokens[s], which may be 0.
  const int32_t* page_table = nullptr;
  uint32_t page_table_stride = 0;
  const uint32_t* tokens = nullptr;
  uint32_t tiles_per_page = 0;
  const PageLayer* pages = nullptr;  // [page * page_stride]: the layer to attend to
  uint32_t page_stride = 1;
  // [sequence][query][query head][head_dim], strides in elements, the last is 1. Queries after RoPE.
  const void* q = nullptr;
  void* o = nullptr;
  ElementType type = ElementType::kBF16;  // of q and o
  int64_t q_stride[3] = {}, o_stride[3] = {};
  float* lse = nullptr;  // [sequence][query][query head], contiguous, natural log; -inf where there is no token
  float scale = 0;       // usually 1/sqrt(head_dim); of attention not negative
};

// How the blocks are coded; the same for all blocks of a launch.
struct AttentionCodec {
  uint32_t head_dim = 0;                  // 64, 128, 256
  CodeKind key_kind = kTurbo4, value_kind = kTurbo4;  // as read
  int8_t key_image[16] = {}, value_image[16] = {};    // [code or window], as read
  uint64_t rotation_seed = 0;
  // Of polar keys: the leading coordinates that RoPE pairs, and how. The others pair half and half.
  uint32_t pair_dims = 0;
  bool pairs_interleaved = false;
  uint32_t base_tile_bytes = 0, refine_tile_bytes = 0;
  KeyMeanTurns means;  // without `any`, all pages must be without key means
};

// Device memory that a launch of these shapes needs besides its inputs, 256-byte aligned; it depends on sequences, heads,
// group, queries and head_dim, the kind of keys and whether there are key means, not on lengths. A caller that sizes it once
// joins the codecs of its blocks and layers first (JoinKeyMeans). 0: the shape is not supported. `warps` share the work (AttentionWarps).
size_t AttentionWorkspaceBytes(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps);
// As many as the current device runs at once; 0 without one. Never more are needed; fewer must be whole thread blocks', a
// multiple of 8, at head_dim 256 of 6.
uint32_t AttentionWarps(uint32_t head_dim);
// Starts five kernels on `stream` (a cudaStream_t), six where there are key means. Of what is refused nothing is started; after
// kLaunchFailed some kernels may be under way: wait for the stream before memory is freed.
LaunchError LaunchAttention(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps, void* workspace,
                            size_t workspace_bytes, void* stream);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ATTENTION_H_
