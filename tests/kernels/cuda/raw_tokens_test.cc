// Escape records as attention reads them: of any magnitude, and not beyond them whatever a tile says.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "codec/reference_codec.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/cuda/block_launch.h"

namespace polarkv::cuda {
namespace {

constexpr uint32_t kDim = 64, kTokens = 70;
constexpr CodecId kKeys[] = {CodecId::kTurbo4, CodecId::kTrellis3, CodecId::kQjl2, CodecId::kPolar44};

BlockView ParseUnverified(std::span<const uint8_t> bytes) { return BlockView::Parse(bytes, VerifyPayload::kNo).value(); }

// The result on the blocks as the reference has it. Queries are rounded to int8 for keys that are codes.
void ExpectTheReferences(const BlockView& block, const LaunchResult& result, const std::vector<float>& q, float scale,
                         double lse_error, double relative_error) {
  const auto rows = static_cast<uint32_t>(q.size() / kDim);
  std::vector<float> o(q.size()), lse(rows);
  ASSERT_TRUE(reference::Attend({&block, 1}, 0, rows, 1, q, scale, o, lse).ok());
  float largest = 0;
  for (const float x : o) largest = std::max(largest, std::fabs(x));
  for (uint32_t row = 0; row < rows; ++row) ASSERT_NEAR(result.lse[row], lse[row], lse_error) << "row " << row;
  for (size_t i = 0; i < o.size(); ++i) ASSERT_NEAR(result.o[i], o[i], relative_error * largest) << "number " << i;
}

// Tokens that are all raw.
TEST(CudaRawTokensTest, RecordsOfAnyMagnitude) {
  for (const float magnitude : {1.0f, 1e30f, 1e33f, 1e-30f, 1e-33f, 1e-35f, 1e-37f}) {
    SCOPED_TRACE(magnitude);
    const BlockSpec spec = testing::OneHead({CodecId::kTurbo4, CodecId::kTurbo4}, kDim, 4);
    testing::Kv kv = testing::GaussianKv(spec, 7);
    for (auto* const tensor : {&kv.k, &kv.v}) {
      for (float& x : *tensor) x *= magnitude;
    }
    const std::vector<uint8_t> bytes = testing::Encode(spec, kv);
    const BlockView block = testing::Parse(bytes);
    ASSERT_EQ(block.layout().layer(0).escapes, 8u);
    const std::vector<float> q = testing::Gaussian(5 * kDim, 8);
    const float scale = .1f / magnitude;
    ExpectTheReferences(block, LaunchOnBlocks({&block, 1}, q, scale), q, scale, .02, .02);
  }
}

// Behind the records lies what would show: NaN.
TEST(CudaRawTokensTest, RecordsThatAreNotThereAreZeros) {
  for (const CodecId keys : kKeys) {
    SCOPED_TRACE(CodecName(keys));
    const BlockSpec spec = testing::OneHead({keys, CodecId::kTurbo4}, kDim, kTokens);
    std::vector<uint8_t> bytes = testing::Encode(spec, testing::GaussianKv(spec, 9));
    const size_t size = bytes.size();
    const auto tile = static_cast<size_t>(testing::Parse(bytes).Tile(0, PlaneKind::kBase, 0, 0).data() - bytes.data());
    bytes.resize(size + 4096, 0xFF);
    for (const uint32_t first : {1u, 6u, 8u, 9u}) {
      SCOPED_TRACE(first);
      std::memcpy(bytes.data() + tile + offsetof(TileHead, first_escape), &first, sizeof first);
      const BlockView block = ParseUnverified(std::span(bytes).first(size));
      const std::vector<float> q = testing::Gaussian(3 * kDim, 10);
      ExpectTheReferences(block, LaunchOnBlocks({&block, 1}, q, .1f), q, .1f, .05, .1);
    }
  }
}

// Numbers may come out that are not finite; under the sanitizers nothing else may happen.
TEST(CudaRawTokensTest, ArbitraryPayloadIsReadWithoutHarm) {
  std::mt19937 random(11);
  for (const CodecId keys : kKeys) {
    SCOPED_TRACE(CodecName(keys));
    const BlockSpec spec = testing::OneHead({keys, CodecId::kTrellis2}, kDim, kTokens);
    std::vector<uint8_t> bytes = testing::Encode(spec, testing::GaussianKv(spec, 12));
    for (uint64_t i = testing::Parse(bytes).layout().payload_offset(); i < bytes.size(); ++i) {
      bytes[i] = static_cast<uint8_t>(random());
    }
    const BlockView block = ParseUnverified(bytes);
    const LaunchResult result = LaunchOnBlocks({&block, 1}, testing::Gaussian(9 * kDim, 13), .1f);
    EXPECT_EQ(result.lse.size(), 9u);
  }
}

}  // namespace
}  // namespace polarkv::cuda
