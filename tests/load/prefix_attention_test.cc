#include "client/load/prefix_attention.h"

#include <algorithm>
#include <vector>

#include "client/aligned_buffer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/load/load_fixture.h"

namespace polarkv::load {
namespace {

struct Prefix {
  BlockContent content;
  std::vector<BlockKey> keys;
  std::vector<AlignedBuffer> buffers;
  std::vector<BlockView> views;

  Prefix(const NamespaceDescriptor& descriptor, uint8_t blocks) : content(descriptor) {
    buffers.resize(blocks);
    for (uint8_t i = 0; i < blocks; ++i) {
      keys.emplace_back();
      keys.back().bytes[0] = static_cast<uint8_t>(i + 1);
      const std::vector<uint8_t> block = *content.Encode(keys.back(), i);
      buffers[i] = AlignedBuffer(block.size());
      std::ranges::copy(block, buffers[i].span().begin());
      views.push_back(*BlockView::Parse(buffers[i].span(), VerifyPayload::kYes));
    }
  }
};

class PrefixAttentionTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PrefixAttentionTest, KernelsAgreeWithDoublePrecision) {
  const Prefix prefix(TinyNamespace(GetParam()), 6);
  PrefixAttention attention(prefix.content, 4);
  attention.Start(prefix.keys, 1234567, true);
  ASSERT_TRUE(attention.checking());
  ASSERT_TRUE(attention.Attend(prefix.views).ok());
  ASSERT_TRUE(attention.AddToCheck(prefix.views, prefix.keys).ok());
  const absl::StatusOr<AttentionCheck> check = attention.Finish();
  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_LT(check->kernel_error, kAttentionTolerance);
  if (std::string(GetParam()) == "fp16") {
    EXPECT_LT(check->compression_error, 1e-4);
  } else {
    EXPECT_GT(check->compression_error, 1e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, PrefixAttentionTest,
                         ::testing::Values("fp16", "turbo2", "turbo3", "turbo4", "polar44"));

TEST(PrefixAttentionTest, WindowsMergeIntoTheWhole) {
  const Prefix prefix(TinyNamespace(), 5);
  PrefixAttention attention(prefix.content, 4);
  attention.Start(prefix.keys, 99, true);
  for (size_t i = 0; i < prefix.views.size(); i += 2) {
    const size_t count = std::min<size_t>(2, prefix.views.size() - i);
    ASSERT_TRUE(attention.Attend(std::span(prefix.views).subspan(i, count)).ok());
    ASSERT_TRUE(
        attention.AddToCheck(std::span(prefix.views).subspan(i, count), std::span(prefix.keys).subspan(i, count)).ok());
  }
  EXPECT_TRUE(attention.Finish().ok()) << attention.Finish().status();
}

// Draws of which at least one must find the fault: each aims four queries at random tokens of four blocks.
constexpr uint64_t kDraws = 16;

// Whether the check fails when `blocks` are attended in place of the whole prefix.
bool SomeDrawFails(const Prefix& prefix, std::span<const BlockView> blocks) {
  PrefixAttention attention(prefix.content, 4);
  for (uint64_t draw = 0; draw < kDraws; ++draw) {
    attention.Start(prefix.keys, draw, true);
    if (!attention.Attend(blocks).ok() || !attention.AddToCheck(prefix.views, prefix.keys).ok()) return false;
    if (attention.Finish().status().code() == absl::StatusCode::kDataLoss) return true;
  }
  return false;
}

TEST(PrefixAttentionTest, MissingRepeatedOrWrongBlockFailsTheCheck) {
  const Prefix prefix(TinyNamespace(), 4), other(TinyNamespace(), 5);
  EXPECT_FALSE(SomeDrawFails(prefix, prefix.views));
  for (size_t block = 0; block < 4; ++block) {
    std::vector<BlockView> missing = prefix.views, repeated = prefix.views, wrong = prefix.views;
    missing.erase(missing.begin() + static_cast<ptrdiff_t>(block));
    repeated.push_back(prefix.views[block]);
    wrong[block] = other.views[4];
    EXPECT_TRUE(SomeDrawFails(prefix, missing)) << "block " << block;
    EXPECT_TRUE(SomeDrawFails(prefix, repeated)) << "block " << block;
    EXPECT_TRUE(SomeDrawFails(prefix, wrong)) << "block " << block;
  }
}

TEST(PrefixAttentionTest, UncheckedPrefixKeepsNoExactState) {
  const Prefix prefix(TinyNamespace(), 1);
  PrefixAttention attention(prefix.content, 4);
  attention.Start(prefix.keys, 0, true);
  attention.Start(prefix.keys, 0, false);
  EXPECT_FALSE(attention.checking());
  EXPECT_TRUE(attention.Attend(prefix.views).ok());
}

}  // namespace
}  // namespace polarkv::load
