#include "client/load/prompt_keys.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

Request Prompt(std::vector<Segment> segments) {
  Request request;
  request.prompt = std::move(segments);
  return request;
}

TEST(PromptKeysTest, AreThePrefixKeysOfTheTokens) {
  const Request request = Prompt({{7, 100}, {8, 30}, {9, 70}});
  std::vector<int32_t> tokens;
  for (const Segment& segment : request.prompt) {
    for (uint32_t i = 0; i < segment.tokens; ++i) tokens.push_back(TokenId(segment.content, i));
  }
  const PromptKeys keys(Fingerprint{1}, "salt", 64);
  EXPECT_EQ(keys.Keys(request), PrefixKeys(Fingerprint{1}, "salt", tokens, 64));
  EXPECT_EQ(keys.Keys(request).size(), 3u);
}

TEST(PromptKeysTest, TokensAreValidIdsAndDependOnContentAndIndex) {
  EXPECT_GE(TokenId(3, 4), 0);
  EXPECT_EQ(TokenId(3, 4), TokenId(3, 4));
  EXPECT_NE(TokenId(3, 4), TokenId(3, 5));
  EXPECT_NE(TokenId(3, 4), TokenId(4, 4));
  // Neighbouring ids of a trace must not be shifts of each other.
  EXPECT_NE(TokenId(3, 4), TokenId(4, 3));
}

TEST(PromptKeysTest, AgreeExactlyAsFarAsThePromptsDo) {
  const PromptKeys keys(Fingerprint{}, "", 64);
  const std::vector<BlockKey> one = keys.Keys(Prompt({{1, 64}, {2, 64}, {3, 64}}));
  const std::vector<BlockKey> other = keys.Keys(Prompt({{1, 64}, {4, 64}, {3, 64}}));
  EXPECT_EQ(one[0], other[0]);
  EXPECT_NE(one[1], other[1]);
  EXPECT_NE(one[2], other[2]) << "the same tokens after another prefix are another block";
}

TEST(PromptKeysTest, PartialBlockCountsAsAReferenceAndHasNoKey) {
  const PromptKeys keys(Fingerprint{}, "", 64);
  EXPECT_EQ(keys.Keys(Prompt({{1, 130}})).size(), 2u);
  EXPECT_EQ(BlockReferences(Prompt({{1, 130}}), 64), 3u);
  EXPECT_EQ(BlockReferences(Prompt({{1, 128}}), 64), 2u);
  EXPECT_TRUE(keys.Keys(Prompt({{1, 63}})).empty());
  EXPECT_TRUE(keys.Keys(Prompt({})).empty());
}

}  // namespace
}  // namespace polarkv::load
