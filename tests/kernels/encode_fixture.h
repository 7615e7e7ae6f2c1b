// Encoders against the reference, byte for byte, on tensors of every dtype.
#ifndef POLARKV_TESTS_KERNELS_ENCODE_FIXTURE_H_
#define POLARKV_TESTS_KERNELS_ENCODE_FIXTURE_H_

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <random>
#include <vector>

#include "codec/codec_id.h"
#include "codec/half_float.h"
#include "codec/reference_codec.h"
#include "kernels/cpu/cpu_encode.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/instruction_sets.h"

namespace polarkv::testing {

// A tensor's memory in one of the three dtypes.
struct Tensor {
  std::vector<uint8_t> bytes;
  Dtype dtype;

  Tensor(const std::vector<float>& x, Dtype type) : dtype(type) {
    for (float value : x) {
      const uint32_t bits = std::bit_cast<uint32_t>(value);
      const uint32_t half = type == Dtype::kF16 ? FloatToHalf(value) : bits >> 16;
      const uint32_t stored = type == Dtype::kF32 ? bits : half;
      for (uint32_t i = 0; i < (type == Dtype::kF32 ? 4u : 2u); ++i) bytes.push_back(static_cast<uint8_t>(stored >> 8 * i));
    }
  }
  TensorView View(const BlockSpec& spec) const {
    return TensorView::Contiguous(bytes.data(), dtype, {spec.layers, spec.kv_heads, spec.tokens, spec.head_dim});
  }
};

inline BlockSpec Spec(const char* codec, uint32_t head_dim, uint32_t tokens) {
  BlockSpec spec = OneHead(ParseCodecPair(codec).value(), head_dim, tokens);
  spec.layers = 2;
  spec.kv_heads = 2;
  return spec;
}

class CpuEncode : public ::testing::TestWithParam<cpu::InstructionSet> {
 protected:
  void SetUp() override { POLARKV_SKIP_WITHOUT(GetParam()); }

  void ExpectTheReferencesBytes(const BlockSpec& spec, const Tensor& k, const Tensor& v) {
    const auto expected = reference::EncodeBlock(spec, k.View(spec), v.View(spec), options_);
    ASSERT_TRUE(expected.ok()) << expected.status();
    std::vector<uint8_t> bytes(size_t{1} << 16, 0xA5);  // what it held must not matter
    ASSERT_EQ(cpu::EncodeBlock(spec, k.View(spec), v.View(spec), options_, GetParam(), bytes), absl::OkStatus());
    ASSERT_EQ(bytes.size(), expected->size());
    for (size_t i = 0; i < bytes.size(); ++i) {
      ASSERT_EQ(bytes[i], (*expected)[i]) << "byte " << i << " of " << CodecPairName(spec.codec) << ", head_dim "
                                          << spec.head_dim << ", " << spec.tokens << " tokens, dtype "
                                          << static_cast<int>(k.dtype);
    }
  }

  EncodeOptions options_;
  const uint32_t seed_ = std::random_device{}();
};

inline constexpr Dtype kDtypes[] = {Dtype::kF16, Dtype::kBF16, Dtype::kF32};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_ENCODE_FIXTURE_H_
