// The codecs that tests of the host's parts need; attention_test.cc has the others.
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/cuda/host_attention.h"

namespace polarkv::cuda {

void EmulateAttention(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps) {
  ASSERT_EQ(codec.head_dim, 64u);
  if (codec.key_kind == kTurbo4 && codec.value_kind == kTurbo4) {
    AttendOnHost<64, kTurbo4, kTurbo4>(codec, batch, warps);
  } else if (codec.key_kind == kTurbo2 && codec.value_kind == kTurbo2) {
    AttendOnHost<64, kTurbo2, kTurbo2>(codec, batch, warps);
  } else {
    FAIL() << "not emulated here: " << codec.key_kind << ", " << codec.value_kind;
  }
}

}  // namespace polarkv::cuda
