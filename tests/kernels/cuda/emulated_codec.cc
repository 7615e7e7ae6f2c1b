#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/cuda/host_decode.h"
#include "tests/kernels/cuda/host_encode_launch.h"

namespace polarkv::cuda {

void EmulateEncode(const EncodeCodec& codec, const EncodeBatch& batch) {
  EXPECT_EQ(EncodeLaunchOnHost(codec, batch), LaunchError::kNone);
}

void EmulateDecode(const AttentionCodec& codec, const DecodeBatch& batch) {
  EXPECT_EQ(DecodeOnHost(codec, batch), LaunchError::kNone);
}

}  // namespace polarkv::cuda
