// Small blocks for tests of the device's host API.
#ifndef POLARKV_TESTS_KERNELS_DEVICE_BLOCKS_H_
#define POLARKV_TESTS_KERNELS_DEVICE_BLOCKS_H_

#include "codec/encode_options.h"
#include "tests/codec/random_kv.h"

namespace polarkv::testing {

inline constexpr CodecPair kTurbo{CodecId::kTurbo4, CodecId::kTurbo4};

inline EncodeOptions WithoutMeans() {
  EncodeOptions options;
  options.key_mean = KeyMeanPolicy::kNever;
  return options;
}

// Two KV heads.
inline BlockSpec DeviceSpec(CodecPair codec, uint32_t head_dim, uint32_t tokens, uint16_t layers = 2) {
  BlockSpec spec = OneHead(codec, head_dim, tokens);
  spec.layers = layers;
  spec.kv_heads = 2;
  return spec;
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_DEVICE_BLOCKS_H_
