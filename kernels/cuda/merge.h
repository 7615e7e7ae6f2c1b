// Joining attention over two disjoint sets of tokens, in device memory: what a launch of attention.h left of a sequence's blocks
// and what any attention kernel left of its fresh tokens.
//
// Plain C++, no exceptions; nothing here synchronises with the device or allocates. All pointers are device pointers and
// must stay valid until the stream has passed the launch. Thread-safe.
#ifndef POLARKV_KERNELS_CUDA_MERGE_H_
#define POLARKV_KERNELS_CUDA_MERGE_H_

#include <cstdint>

#include "kernels/cuda/element_type.h"
#include "kernels/cuda/launch_error.h"

namespace polarkv::cuda {

// Normalised output and log-sum-exp (natural log) of rows, each over the same set of tokens or one of its own.
struct AttentionResult {
  // [sequence][query][query head][head_dim], strides in elements, the last is 1. Begins, as every row, at a multiple of 16 bytes.
  void* o = nullptr;
  ElementType type = ElementType::kBF16;
  int64_t o_stride[3] = {};
  float* lse = nullptr;  // [sequence][query][query head], strides in floats; -inf: a row without tokens, of which o is not read
  int64_t lse_stride[3] = {};
};

// o and lse become those of both. Not `more`, which may have other strides (0 too) and another type. No two rows of `into`
// overlap, nor a row of `into` another one of `more`.
struct MergeBatch {
  uint32_t sequences = 0, queries = 1, heads = 1;  // rows: their product, which may be 0
  uint32_t head_dim = 0;                           // a multiple of 8, up to 256
  AttentionResult into, more;
};

// The arithmetic of MergeAttention (codec/attention_state.h) in fp32: a row without tokens changes nothing, two of them give zeros and
// -inf, sums saturate at the largest float before they are rounded to `into.type` (to infinity beyond its range). An lse that
// is a NaN makes its row's output and lse NaNs; so does one of +inf. The same input gives the same bits.
// Starts one kernel on `stream` (a cudaStream_t), none without rows. kUnsupportedShape: another head_dim, 2^31 rows or more, a null pointer;
// kMisalignedRows: `o` or its strides are not multiples of 16 bytes.
LaunchError LaunchMerge(const MergeBatch& batch, void* stream);

// LaunchMerge's refusals, without a device.
LaunchError CheckMerge(const MergeBatch& batch);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MERGE_H_
