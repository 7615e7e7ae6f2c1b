// Key means in the encoders (FORMAT.md, "Key means"): where they come from, and what the host brings for them.
//
// Given: a profile's, the same for all blocks of a launch. Own: each block's, estimated from its keys on the device,
// which also decides for which layers they pay, in the reference's arithmetic to the bit; the host learns it from the
// reports. Means whose largest magnitude is not in 2^-40 to 2^40 are not taken off; FinishBlock has the reference do
// such heads.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_MEANS_H_
#define POLARKV_KERNELS_CUDA_ENCODE_MEANS_H_

#include <cstdint>

#include "codec/code_order.h"

namespace polarkv::cuda {

enum class MeanSource : uint32_t {
  kNone,  // keys are coded as they are
  kGiven,
  kOwnWherePaying,  // KeyMeanPolicy::kAuto
  kOwn,             // KeyMeanPolicy::kAlways
};
constexpr bool AreOwn(MeanSource source) { return source == MeanSource::kOwnWherePaying || source == MeanSource::kOwn; }

// A head's mean as kernels read it, in floats: [head_dim] at position 0, then half its square - infinity if it is not
// to be taken off - and whether the layer has means (1) or not (0), then two that pad. GivenMeans (finished_block.h)
// makes them.
POLARKV_HOST_DEVICE constexpr uint32_t MeanRowFloats(uint32_t head_dim) { return head_dim + 4; }

// The same for all blocks of a launch. Pointers are device pointers, `given` and `workspace` at multiples of 16.
struct EncodeMeans {
  MeanSource source = MeanSource::kNone;
  const float* given = nullptr;      // [layer][KV head] rows, with kGiven
  const uint64_t* phases = nullptr;  // of RoPE's pairs (BlockSpec::phases)
  uint32_t pairs = 0;                // 0: without RoPE
  bool interleaved = false;          // pairs are (2 p, 2 p + 1), else (p, p + pairs)
  void* workspace = nullptr;
  uint64_t workspace_bytes = 0;  // at least EncodeWorkspaceBytes
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_MEANS_H_
