// Attention at magnitudes where fp32 ends: launches are as near to the reference as ever, or are not believed.
#include <algorithm>
#include <cmath>
#include <random>

#include "codec/reference_codec.h"
#include "codec/rotation.h"
#include "kernels/cuda/device_attention.h"
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
  Problem() = default;
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
  float scale = 0;
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

// What the device's kernels do not take the reference does, as in device_kernels.h.
absl::Status AttendOrHandOver(DeviceAttention& attention, const Problem& p, std::vector<float>& o, std::vector<float>& lse) {
  const absl::Status status = attention.Attend({p.blocks, 0}, kRows, 1, p.q, p.scale, o, lse, nullptr);
  return absl::IsOutOfRange(status) ? reference::Attend(p.blocks, 0, kRows, 1, p.q, p.scale, o, lse) : status;
}

constexpr EncodeOptions kWithRawTokens = {KeyMeanPolicy::kNever, 4, false};

TEST(CudaAttentionMagnitudesTest, LogitsNearOneOfHugeAndTinyFactors) {
  EmulatedDevice device;
  DeviceAttention attention(device);
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
        ASSERT_EQ(AttendOrHandOver(attention, p, o, lse), absl::OkStatus());
        EXPECT_NO_FATAL_FAILURE(ExpectHeld(p, o, lse));
      }
    }
  }
}

// Which a launch does by itself, without the reference's help.
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

// Queries whose rotation is a row of integers up to 127: raw keys are multiplied with rounded queries too, which the
// interval does not know. Their largest coordinate is about 1.
std::vector<float> ExactQueries(std::mt19937& random) {
  const auto signs = RotationSigns(BlockSpec::kDefaultRotationSeed);
  std::vector<float> q;
  for (uint32_t row = 0; row < kRows; ++row) {
    std::vector<float> x(kDim);
    for (float& value : x) value = static_cast<float>(static_cast<int>(random() % 255) - 127);
    x[random() % kDim] = 127;
    HadamardBlocks(x.data(), kDim, RotationBlock(kDim), 1);
    for (uint32_t j = 0; j < kDim; ++j) q.push_back(signs[j] * x[j] * 0x1p-10f);
  }
  return q;
}

// Queries, scale, and every token's key and value of any magnitude, with escapes and means as they come.
TEST(CudaAttentionMagnitudesTest, AnyMagnitudes) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::SeedText(seed));
  std::mt19937 random(seed);
  const auto power = [&](int low, int high) { return std::ldexp(1.0f, std::uniform_int_distribution(low, high)(random)); };
  EmulatedDevice device;
  DeviceAttention attention(device);
  for (int round = 0; round < 120; ++round) {
    SCOPED_TRACE(round);
    // All but polar44, whose keys are rounded to fp16.
    const CodecPair codec{kKeys[static_cast<size_t>(round) % 9], kKeys[random() % 6]};
    SCOPED_TRACE(CodecPairName(codec));
    const BlockSpec spec = testing::OneHead(codec, kDim, std::uniform_int_distribution(1u, 140u)(random));
    Problem p;
    p.q = ExactQueries(random);
    testing::Kv kv = testing::GaussianKv(spec, static_cast<uint32_t>(random()));
    const std::vector<float> mean = testing::Gaussian(kDim, static_cast<uint32_t>(random()), 3 * static_cast<float>(random() % 2));
    const int around = std::uniform_int_distribution(-130, 115)(random), width = 1 << random() % 7;
    for (uint32_t t = 0; t < spec.tokens; ++t) {
      const float key = power(std::max(-140, around - width), std::min(120, around + width)), value = power(-width, width);
      for (uint32_t j = 0; j < kDim; ++j) {
        kv.k[t * kDim + j] = (kv.k[t * kDim + j] + mean[j]) * key;
        kv.v[t * kDim + j] *= value;
      }
    }
    const int query = std::clamp(-around + std::uniform_int_distribution(-40, 40)(random), -110, 120);
    for (float& x : p.q) x *= std::ldexp(1.0f, query);
    p.scale = power(-8, 8) * std::ldexp(1.0f, std::clamp(-around - query, -140, 110)) * (random() % 4 == 0 ? -1.0f : 1.0f);
    p.bytes = testing::Encode(spec, kv);
    p.blocks = {testing::Parse(p.bytes)};
    std::vector<float> o(p.q.size()), lse(kRows);
    ASSERT_EQ(AttendOrHandOver(attention, p, o, lse), absl::OkStatus());
    EXPECT_NO_FATAL_FAILURE(ExpectHeld(p, o, lse));
  }
}

}  // namespace
}  // namespace polarkv::cuda
