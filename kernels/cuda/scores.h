// Scores of a batch of sequences on blocks that lie in device memory: <q, k> * scale of every query row and token, without
// softmax and values. Of a page the planes of values need not be there.
//
// As attention.h: plain C++, no exceptions, no synchronisation, no allocation; thread-safe.
#ifndef POLARKV_KERNELS_CUDA_SCORES_H_
#define POLARKV_KERNELS_CUDA_SCORES_H_

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention.h"

namespace polarkv::cuda {

// Where scores go: that of a token of a sequence is at
//   scores[sequence * stride[0] + query * stride[1] + query head * stride[2] + token]
// for the first tokens[sequence] tokens; nothing else is written. Strides are even, `scores` is at an 8-byte boundary.
struct ScoresTarget {
  float* scores = nullptr;
  int64_t stride[3] = {};
};

// As AttentionWorkspaceBytes. `o`, `o_stride` and `lse` of the batch and all of the codec that is about values are ignored
// but for value_kind, which must be one that attention takes.
size_t ScoresWorkspaceBytes(const AttentionCodec& codec, const AttentionBatch& batch);
// As many warps as the current device runs at once; 0 without one. Fewer must be a multiple of 16, at head_dim 256 of 10.
uint32_t ScoresWarps(uint32_t head_dim);
// Starts four kernels on `stream` (a cudaStream_t), five where there are key means. As LaunchAttention otherwise.
LaunchError LaunchScores(const AttentionCodec& codec, const AttentionBatch& batch, const ScoresTarget& target,
                         uint32_t warps, void* workspace, size_t workspace_bytes, void* stream);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_SCORES_H_
