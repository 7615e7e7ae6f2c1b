// Attention at magnitudes where fp32 ends: launches are as near to the reference as ever, or are not believed.
#include <algorithm>
#include <cmath>

#include "kernels/device_kernels.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/attention_interval.h"
#include "tests/kernels/cuda/block_launch.h"

namespace polarkv::cuda {
namespace {

constexpr uint32_t kDim = 64, kRows = 3;
constexpr CodecId kKeys[] = {CodecId::kTurbo2,   CodecId::kTurbo3, CodecId::kTurbo4, CodecId::kTrellis1, CodecId::kTrellis2,
                             CodecId::kTrellis3, CodecId::kQjl1,   CodecId::kQjl2,   CodecId::kQjl4,     CodecId::kPolar44};

struct Magnitudes {
  float key, query, scale;
};

// Keys against the query in every second token, the others nearly zero: logits are between about -1 and 0.
struct Problem {
  Problem(CodecId keys, const Magnitudes& by, const EncodeOptions& options)
      : q(testing::Gaussian(kRows * kDim, 3)), scale(by.scale) {
    const BlockSpec spec = testing::OneHead({keys, CodecId::kTurbo4}, kDim, 70);
    testing::Kv kv = testing::GaussianKv(spec, 4);
    for (size_t i = 0; i < kv.k.size(); ++i) {
      float& x = kv.k[i];
      x = by.key * (i / kDim % 2 == 0 ? -q[i % kDim] * (0.1f + 0.01f * x) : 1e-6f * x);
    }
    for (float& x : q) x *= by.query;
    bytes = testing::Encode(spec, kv, options);
    blocks = {testing::Parse(bytes)};
  }
  std::vector<float> q;
  float scale;
  std::vector<uint8_t> bytes;
  std::vector<BlockView> blocks;
};

void ExpectHeld(const Problem& p, const std::vector<float>& o, const std::vector<float>& lse) {
  const testing::AttentionInterval interval(p.blocks, 0, 0);
  for (size_t row = 0; row < kRows; ++row) {
    const auto bounds = interval.BoundsOf(&p.q[row * kDim], p.scale);
    ASSERT_EQ(interval.Defect(bounds, lse[row], &o[row * kDim]), "") << "row " << row;
  }
}

constexpr EncodeOptions kWithRawTokens = {KeyMeanPolicy::kNever, 4, false};

TEST(CudaAttentionMagnitudesTest, LogitsNearOneOfHugeAndTinyFactors) {
  EmulatedDevice device;
  DeviceKernels kernels(DeviceChoice::kCuda, &device, "");
  for (const CodecId keys : kKeys) {
    SCOPED_TRACE(CodecName(keys));
    for (const Magnitudes& by :
         {Magnitudes{1, 1, .1f}, {3e37f, 1 / 3e37f, .1f}, {1e38f, 1e-38f, .1f}, {1e30f, 1e-30f, .1f}, {1e-33f, 1e33f, .1f},
          {1e-36f, 1e36f, .1f}, {1e-37f, 1e38f, .1f}, {1e-41f, 1e37f, 1000}, {1e10f, 1e30f, 1e-41f}, {1e-10f, 1e-30f, 1e38f},
          {1e-38f, 1e-2f, 1e38f}, {1e38f, 1e-2f, 1e-38f}, {-1, 1, -.1f}}) {
      SCOPED_TRACE(testing::SeedText(0) + ": " + std::to_string(std::log10(std::fabs(by.key))) + ", " +
                   std::to_string(std::log10(by.query)) + ", " + std::to_string(by.scale));
      for (const EncodeOptions& options : {testing::kCodesAlone, kWithRawTokens}) {
        const Problem p(keys, by, options);
        std::vector<float> o(p.q.size()), lse(kRows);
        ASSERT_TRUE(kernels.Attend(p.blocks, 0, kRows, 1, p.q, p.scale, o, lse).ok());
        EXPECT_NO_FATAL_FAILURE(ExpectHeld(p, o, lse));
      }
    }
  }
}

// Which a launch does by itself, without the CPU's help.
TEST(CudaAttentionMagnitudesTest, LaunchesHoldHugeQueriesAndTinyKeys) {
  for (const CodecId keys : kKeys) {
    SCOPED_TRACE(CodecName(keys));
    for (const Magnitudes& by : {Magnitudes{1e-30f, 1e37f, 1e-6f}, {1e-30f, 6e37f, 1e-6f}, {1e-33f, 1e33f, .1f},
                                 {1e-36f, 1e36f, .1f}, {1e-37f, 1e37f, .1f}}) {
      SCOPED_TRACE(std::log10(by.query));
      for (const EncodeOptions& options : {testing::kCodesAlone, kWithRawTokens}) {
        const Problem p(keys, by, options);
        const LaunchResult result = LaunchOnBlocks(p.blocks, p.q, p.scale);
        EXPECT_NO_FATAL_FAILURE(ExpectHeld(p, result.o, result.lse));
      }
    }
  }
}

}  // namespace
}  // namespace polarkv::cuda
