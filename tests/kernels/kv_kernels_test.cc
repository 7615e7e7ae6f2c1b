// The host API, whichever bodies this machine picks, against the contract of kernels/README.md.
#include "kernels/kv_kernels.h"

#include <gtest/gtest.h>

#include <cmath>

#include "codec/reference_codec.h"
#include "tests/codec/codec_cases.h"
#include "tests/codec/exact_attention.h"

namespace polarkv {
namespace {

using testing::ExactRow;
using testing::Gaussian;
using testing::GaussianKv;
using testing::Kv;
using testing::Parse;
using testing::SpecText;
using testing::View;

// Some bodies round queries to int8 and weights to 8 bits. On N(0,1) data the largest rotated coordinate is about 4.5,
// the query's rounding 4.5 / 127 / sqrt(12) = .010 a coordinate, and a logit's .010 |k| / sqrt(d) <= .013: four
// deviations. An output moves by that times the weighted spread of the values (1), and by 64 weights' rounding, .5 /
// 255 / sqrt(3) of the largest weight, times a value (1): sqrt(64) * .0011 * 1 at the very most a deviation of .009.
// The bodies' own tests have sharp bounds; this one finds gross mistakes in how they are put together.
constexpr double kLogitTolerance = 4 * .013;
constexpr double kOutputTolerance = 4 * (.013 + .009);

class KvKernels : public ::testing::TestWithParam<testing::CodecCase> {};

TEST_P(KvKernels, EncodeAndDecodeGiveTheReferencesBits) {
  for (const BlockSpec& spec : GetParam().Specs()) {
    const Kv kv = GaussianKv(spec, 900);
    const std::vector<uint8_t> bytes = EncodeBlock(spec, View(spec, kv.k), View(spec, kv.v)).value();
    ASSERT_EQ(bytes, testing::Encode(spec, kv)) << SpecText(spec);
    const BlockView block = Parse(bytes);
    Kv out{std::vector<float>(kv.k.size()), std::vector<float>(kv.v.size())};
    ASSERT_EQ(DecodeBlock(block, out.k, out.v), absl::OkStatus());
    const Kv reference = testing::Decode(block);
    EXPECT_EQ(out.k, reference.k) << SpecText(spec);
    EXPECT_EQ(out.v, reference.v) << SpecText(spec);
  }
}

TEST_P(KvKernels, AttentionIsThatOfTheDecodedBlocks) {
  for (const BlockSpec& spec : GetParam().Specs()) {
    const std::vector<uint8_t> first = testing::Encode(spec, GaussianKv(spec, 901));
    const std::vector<uint8_t> second = testing::Encode(spec, GaussianKv(spec, 903));
    const std::vector<BlockView> blocks = {Parse(first), Parse(second)};
    std::vector<float> k, v;
    for (const BlockView& block : blocks) {
      const Kv kv = testing::Decode(block);
      k.insert(k.end(), kv.k.begin(), kv.k.end());
      v.insert(v.end(), kv.v.begin(), kv.v.end());
    }
    const std::vector<float> q = Gaussian(4 * spec.head_dim, 905);
    const float scale = 1 / std::sqrt(static_cast<float>(spec.head_dim));
    std::vector<float> o(q.size()), lse(4);
    ASSERT_EQ(Attend(blocks, 0, 2, 2, q, scale, o, lse), absl::OkStatus());
    for (size_t row = 0; row < 4; ++row) {
      const ExactRow exact =
          testing::AttendExactly(&q[row * spec.head_dim], k.data(), v.data(), 2 * spec.tokens, spec.head_dim, scale);
      EXPECT_NEAR(lse[row], exact.lse, kLogitTolerance) << SpecText(spec);
      for (uint32_t j = 0; j < spec.head_dim; ++j) {
        ASSERT_NEAR(o[row * spec.head_dim + j], exact.o[j], kOutputTolerance) << SpecText(spec) << ", dim " << j;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, KvKernels, ::testing::ValuesIn(testing::AllCodecCases()), testing::CodecCaseName);

TEST(KvKernelsInput, StatusesAreTheReferences) {
  const BlockSpec spec = testing::OneHead({CodecId::kTurbo4, CodecId::kTurbo4}, 64, 10);
  Kv kv = GaussianKv(spec, 1);
  const std::vector<uint8_t> bytes = testing::Encode(spec, kv);
  const std::vector<BlockView> blocks = {Parse(bytes)};
  kv.k[0] = NAN;
  EXPECT_EQ(EncodeBlock(spec, View(spec, kv.k), View(spec, kv.v)).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DecodeBlock(blocks[0], kv.k, {}).code(), absl::StatusCode::kInvalidArgument);
  std::vector<float> q(64), o(64), lse(1);
  EXPECT_EQ(Attend(blocks, 1, 1, 1, q, 1, o, lse).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Attend({}, 0, 1, 1, q, 1, o, lse), absl::OkStatus());
  EXPECT_EQ(lse[0], -INFINITY);
}

}  // namespace
}  // namespace polarkv
