#include "codec/block_key.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace polarkv {
namespace {

Fingerprint SomeFingerprint() {
  Fingerprint fingerprint;
  fingerprint.fill(0x5A);
  return fingerprint;
}

std::vector<int32_t> Tokens(size_t count) {
  std::vector<int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), -3);
  return tokens;
}

TEST(BlockKey, HexIsReadBack) {
  const BlockKey key = PrefixKeyChain(SomeFingerprint(), "").current();
  EXPECT_EQ(key.ToHex().size(), 64u);
  EXPECT_EQ(BlockKey::FromHex(key.ToHex()).value(), key);
  EXPECT_EQ(BlockKey::FromHex("ABCDEF" + std::string(58, '0'))->ToHex(), "abcdef" + std::string(58, '0'));
}

TEST(BlockKey, OtherTextsAreNoKeys) {
  for (const std::string& text : {std::string(), std::string(63, '0'), std::string(65, '0'), std::string(63, '0') + "g",
                                  "0x" + std::string(62, '0'), std::string(63, '0') + " "}) {
    EXPECT_TRUE(absl::IsInvalidArgument(BlockKey::FromHex(text).status())) << text;
  }
}

TEST(PrefixKeys, AreThoseOfTheChainForFullBlocksOnly) {
  const std::vector<int32_t> tokens = Tokens(200);
  PrefixKeyChain chain(SomeFingerprint(), "salt");
  std::vector<BlockKey> expected;
  for (size_t i = 0; i < 3; ++i) expected.push_back(chain.Next(std::span(tokens).subspan(64 * i, 64)));
  EXPECT_EQ(PrefixKeys(SomeFingerprint(), "salt", tokens, 64), expected);
  EXPECT_EQ(PrefixKeys(SomeFingerprint(), "salt", std::span(tokens).first(63), 64), std::vector<BlockKey>());
  EXPECT_EQ(PrefixKeys(SomeFingerprint(), "salt", tokens, 0), std::vector<BlockKey>());
}

TEST(PrefixKeys, AKeyNamesEverythingBeforeIt) {
  const std::vector<int32_t> tokens = Tokens(192);
  const std::vector<BlockKey> keys = PrefixKeys(SomeFingerprint(), "", tokens, 64);
  for (const size_t changed : {0u, 63u, 64u, 191u}) {
    std::vector<int32_t> other = tokens;
    other[changed] += 1;
    const std::vector<BlockKey> other_keys = PrefixKeys(SomeFingerprint(), "", other, 64);
    for (size_t block = 0; block < 3; ++block) EXPECT_EQ(keys[block] == other_keys[block], block < changed / 64);
  }
}

TEST(PrefixKeyChain, EveryInputDecidesTheKey) {
  const std::vector<int32_t> tokens = Tokens(64);
  Fingerprint other = SomeFingerprint();
  other[31] ^= 1;
  const auto key = [](const Fingerprint& fingerprint, std::string_view salt, std::span<const int32_t> ids,
                      std::string_view extra) { return PrefixKeyChain(fingerprint, salt).Next(ids, extra); };
  const std::set<BlockKey> keys = {key(SomeFingerprint(), "", tokens, ""),
                                   key(other, "", tokens, ""),
                                   key(SomeFingerprint(), "a", tokens, ""),
                                   key(SomeFingerprint(), "", tokens, "a"),
                                   key(SomeFingerprint(), "", std::span(tokens).first(63), ""),
                                   PrefixKeyChain(SomeFingerprint(), "").current()};
  EXPECT_EQ(keys.size(), 6u);
}

TEST(PrefixKeyChain, TokensAndExtraCannotRunIntoEachOther) {
  // The bytes of one more token, as extra.
  const std::vector<int32_t> one = {7}, two = {7, 8};
  PrefixKeyChain a(SomeFingerprint(), ""), b(SomeFingerprint(), "");
  EXPECT_NE(a.Next(two), b.Next(one, std::string_view("\x08\0\0\0", 4)));
}

TEST(PrefixKeyChain, ACopyContinuesOnItsOwn) {
  const std::vector<int32_t> tokens = Tokens(64);
  PrefixKeyChain chain(SomeFingerprint(), "");
  chain.Next(tokens);
  PrefixKeyChain branch = chain;
  EXPECT_EQ(branch.Next(tokens), chain.Next(tokens));
  EXPECT_EQ(branch.current(), chain.current());
}

TEST(ShardKey, OneShardHasTheChainsKey) {
  const BlockKey key = PrefixKeyChain(SomeFingerprint(), "").current();
  EXPECT_EQ(ShardKey(key, 0, 1), key);
  const std::set<BlockKey> keys = {key, ShardKey(key, 0, 2), ShardKey(key, 1, 2), ShardKey(key, 0, 4),
                                   ShardKey(key, 1, 4)};
  EXPECT_EQ(keys.size(), 5u);
}

}  // namespace
}  // namespace polarkv
