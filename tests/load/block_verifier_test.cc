#include "client/load/block_verifier.h"

#include "codec/block_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/load/load_fixture.h"

namespace polarkv::load {
namespace {

using ::testing::HasSubstr;

BlockKey Key(uint8_t first) {
  BlockKey key;
  key.bytes[0] = first;
  return key;
}

TEST(BlockVerifierTest, RememberedDigestSparesTheEncoder) {
  BlockVerifier verifier(BlockContent(TinyNamespace()), 100, 0);
  const std::vector<uint8_t> block = *verifier.Encode(Key(1), 0);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(verifier.Check(Key(1), 0, block).ok());
  EXPECT_EQ(verifier.counts().encoded, 1u);
  EXPECT_EQ(verifier.counts().by_digest, 5u);
}

TEST(BlockVerifierTest, BlockOfAnEarlierRunIsRecomputedOnce) {
  const std::vector<uint8_t> block = *BlockContent(TinyNamespace()).Encode(Key(1), 0);
  BlockVerifier verifier(BlockContent(TinyNamespace()), 100, 0);
  EXPECT_TRUE(verifier.Check(Key(1), 0, block).ok());
  EXPECT_TRUE(verifier.Check(Key(1), 0, block).ok());
  EXPECT_EQ(verifier.counts().by_recomputation, 1u);
  EXPECT_EQ(verifier.counts().by_digest, 1u);
}

TEST(BlockVerifierTest, EveryFlippedBitIsFound) {
  for (const uint64_t digests : {0, 100}) {
    BlockVerifier verifier(BlockContent(TinyNamespace()), digests, 0);
    std::vector<uint8_t> block = *verifier.Encode(Key(1), 0);
    for (size_t byte = 0; byte < block.size(); byte += 97) {
      block[byte] ^= 0x10;
      const absl::Status status = verifier.Check(Key(1), 0, block);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      EXPECT_THAT(std::string(status.message()), HasSubstr("at byte " + std::to_string(byte) + " of"));
      block[byte] ^= 0x10;
    }
  }
}

// Every checksum of such a block is right: only the content tells.
TEST(BlockVerifierTest, ValidBlockOfAnotherKeyIsFound) {
  const NamespaceDescriptor descriptor = TinyNamespace();
  BlockVerifier verifier(BlockContent(descriptor), 100, 0);
  std::vector<uint8_t> other = *verifier.Encode(Key(2), 0);
  const BlockSpec wanted = NamespaceBlockSpec(descriptor, Key(1), 0);
  TagBlock(other, wanted.namespace_tag, wanted.key_tag);
  ASSERT_TRUE(BlockView::Parse(other, VerifyPayload::kYes).ok());
  EXPECT_EQ(verifier.Check(Key(1), 0, other).code(), absl::StatusCode::kDataLoss);
}

TEST(BlockVerifierTest, ShortAndLongBlocksAreFound) {
  BlockVerifier verifier(BlockContent(TinyNamespace()), 100, 0);
  std::vector<uint8_t> block = *verifier.Encode(Key(1), 0);
  block.push_back(0);
  EXPECT_THAT(std::string(verifier.Check(Key(1), 0, block).message()), HasSubstr("its content makes"));
  block.resize(block.size() - 2);
  EXPECT_EQ(verifier.Check(Key(1), 0, block).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(verifier.Check(Key(1), 0, {}).code(), absl::StatusCode::kDataLoss);
}

TEST(BlockVerifierTest, RecomputesTheShareAskedFor) {
  BlockVerifier verifier(BlockContent(TinyNamespace()), 100, 4);
  const std::vector<uint8_t> block = *verifier.Encode(Key(1), 0);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(verifier.Check(Key(1), 0, block).ok());
  EXPECT_EQ(verifier.counts().by_recomputation, 5u);
  EXPECT_EQ(verifier.counts().by_digest, 15u);
}

// What made a block must not be what says that it is right.
TEST(BlockVerifierTest, ChecksAreNotTheDevices) {
  DeviceKernels device(DeviceChoice::kAuto, nullptr, "none in this test");
  BlockVerifier verifier(BlockContent(TinyNamespace(), &device), 100, 1);
  const std::vector<uint8_t> block = *verifier.Encode(Key(1), 0);
  EXPECT_EQ(device.use().on_cpu, 1u);
  EXPECT_TRUE(verifier.Check(Key(1), 0, block).ok());
  EXPECT_TRUE(verifier.Check(Key(2), 0, *BlockContent(TinyNamespace()).Encode(Key(2), 0)).ok());
  EXPECT_EQ(verifier.counts().by_recomputation, 2u);
  EXPECT_EQ(device.use().on_cpu, 1u);
}

TEST(BlockVerifierTest, RemembersNoMoreThanItsBound) {
  // 16 shards of one digest each: of 400 blocks at most 16 are still known.
  BlockVerifier verifier(BlockContent(TinyNamespace()), 16, 0);
  std::vector<BlockKey> keys;
  std::vector<std::vector<uint8_t>> blocks;
  for (int i = 0; i < 400; ++i) {
    BlockKey key;
    key.bytes[0] = static_cast<uint8_t>(i), key.bytes[1] = static_cast<uint8_t>(i >> 8);
    key.bytes[31] = static_cast<uint8_t>(i);
    keys.push_back(key);
    blocks.push_back(*verifier.Encode(key, 0));
  }
  for (int i = 399; i >= 0; --i)
    ASSERT_TRUE(verifier.Check(keys[static_cast<size_t>(i)], 0, blocks[static_cast<size_t>(i)]).ok());
  EXPECT_LE(verifier.counts().by_digest, 16u);
  EXPECT_GE(verifier.counts().by_recomputation, 384u);
}

}  // namespace
}  // namespace polarkv::load
