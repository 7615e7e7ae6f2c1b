#include "client/load/block_content.h"

#include <cmath>
#include <set>
#include <vector>

#include "client/load/model_preset.h"
#include "codec/block_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/kv_kernels.h"

namespace polarkv::load {
namespace {

NamespaceDescriptor Descriptor(std::string_view codec) {
  Geometry geometry = *ScaledGeometry(*FindModelPreset("tiny"), 1, 1);
  geometry.layers = 2;
  geometry.kv_heads = 3;
  geometry.q_heads = 3;
  geometry.codec = *ParseCodecPair(codec);
  return *LoadNamespace("test", geometry, "");
}

BlockKey Key(uint8_t first) {
  BlockKey key;
  key.bytes[0] = first;
  return key;
}

TEST(BlockContentTest, DependsOnTheKeyAlone) {
  const BlockContent one(Descriptor("fp16")), other(Descriptor("fp16"));
  std::vector<float> k(one.tensor_values()), v(k), k2(k), v2(k);
  one.FillTensors(Key(1), k, v);
  other.FillTensors(Key(1), k2, v2);
  EXPECT_EQ(k, k2);
  EXPECT_EQ(v, v2);
  EXPECT_NE(k, v);
  other.FillTensors(Key(2), k2, v2);
  EXPECT_NE(k, k2);
  EXPECT_NE(v, v2);
}

// The content is part of what a stored block means to a later run: these values must not drift.
TEST(BlockContentTest, FirstValuesAreTheseOnEveryPlatform) {
  const BlockContent content(Descriptor("fp16"));
  std::vector<float> k(content.tensor_values()), v(k);
  content.FillTensors(BlockKey{}, k, v);
  EXPECT_EQ(std::vector<float>(k.begin(), k.begin() + 4),
            (std::vector<float>{0.8671875f, -1.625f, -0.3046875f, -1.40625f}));
  EXPECT_EQ(std::vector<float>(v.begin(), v.begin() + 4),
            (std::vector<float>{0.0078125f, -1.03125f, -0.2734375f, -0.4765625f}));
}

TEST(BlockContentTest, ValuesAreExactInFp16AndNearlyNormal) {
  const BlockContent content(Descriptor("fp16"));
  std::vector<float> k(content.tensor_values()), v(k);
  content.FillTensors(Key(3), k, v);
  double sum = 0, squares = 0;
  for (const float value : k) {
    const float units = value * 128;
    EXPECT_EQ(units, std::round(units));
    EXPECT_LE(std::abs(units), 510);
    sum += value, squares += value * value;
  }
  const double n = static_cast<double>(k.size());
  EXPECT_NEAR(sum / n, 0, 4 * 1.15 / std::sqrt(n));
  // Sum of four bytes: variance 4 (256^2 - 1) / 12, over 128^2.
  EXPECT_NEAR(squares / n, 4 * 65535.0 / 12 / 16384, 0.05);
}

TEST(BlockContentTest, KeyVectorIsTheRowOfTheTensor) {
  const BlockContent content(Descriptor("turbo4"));
  std::vector<float> k(content.tensor_values()), v(k), row(64);
  content.FillTensors(Key(4), k, v);
  content.FillKeyVector(Key(4), 1, 2, 33, row);
  const size_t start = ((1 * 3 + 2) * 64 + 33) * 64;
  EXPECT_EQ(row, std::vector<float>(k.begin() + start, k.begin() + start + 64));
}

class EncodedContentTest : public ::testing::TestWithParam<const char*> {};

TEST_P(EncodedContentTest, IsDeterministicAndBelongsToItsKey) {
  const NamespaceDescriptor descriptor = Descriptor(GetParam());
  const BlockContent content(descriptor);
  const absl::StatusOr<std::vector<uint8_t>> block = content.Encode(Key(5), 7);
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(*block, *BlockContent(descriptor).Encode(Key(5), 7));
  EXPECT_NE(*block, *content.Encode(Key(6), 7));
  EXPECT_NE(*block, *content.Encode(Key(5), 8));
  const absl::StatusOr<BlockView> view = BlockView::Parse(*block, VerifyPayload::kYes);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_TRUE(CheckBlockBelongs(view->spec(), descriptor, NamespaceFingerprint(descriptor), Key(5)).ok());
}

INSTANTIATE_TEST_SUITE_P(Codecs, EncodedContentTest,
                         ::testing::Values("fp16", "turbo2", "turbo3", "turbo4", "polar44", "k=polar44,v=turbo4"));

TEST(BlockContentTest, Fp16BlocksDecodeToTheContentExactly) {
  const BlockContent content(Descriptor("fp16"));
  const std::vector<uint8_t> block = *content.Encode(Key(9), 0);
  const BlockView view = *BlockView::Parse(block, VerifyPayload::kYes);
  std::vector<float> k(content.tensor_values()), v(k), decoded_k(k), decoded_v(k);
  content.FillTensors(Key(9), k, v);
  ASSERT_TRUE(DecodeBlock(view, decoded_k, decoded_v).ok());
  EXPECT_EQ(k, decoded_k);
  EXPECT_EQ(v, decoded_v);
}

}  // namespace
}  // namespace polarkv::load
