// Attention for tests of the host's parts, at the head dim that they have; attention_test.cc has the others.
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/cuda/host_attention.h"

namespace polarkv::cuda {

void EmulateAttention(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps) {
  ASSERT_EQ(codec.head_dim, 64u);
  AttendOnHost<64>(codec, batch, warps);
}

}  // namespace polarkv::cuda
