// What the metadata of a safetensors file may say about positions, and what is refused.
#include <string>

#include "client/cli/kv_tensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::cli {
namespace {

using ::testing::HasSubstr;

std::string Message(const KvMetadata& metadata) {
  return std::string(ParsePlacement(metadata, 128).status().message());
}

TEST(KvMetadataTest, NothingSaidIsNoRopeAtPositionZero) {
  const KvPlacement placement = ParsePlacement({}, 128).value();
  EXPECT_EQ(placement.rope, Rope{});
  EXPECT_EQ(placement.first_position, 0u);
  EXPECT_FALSE(placement.rope_stated);
}

TEST(KvMetadataTest, DimsDefaultToTheWholeHead) {
  const KvPlacement placement = ParsePlacement({.rope = "half", .rope_base = "5e5"}, 96).value();
  EXPECT_EQ(placement.rope, (Rope{RopePairing::kHalf, 500000, 96}));
  EXPECT_TRUE(placement.rope_stated);
}

TEST(KvMetadataTest, EverythingSaid) {
  const KvPlacement placement =
      ParsePlacement({.rope = "interleaved", .rope_base = "10000", .rope_dims = "64", .first_position = "4096"}, 128)
          .value();
  EXPECT_EQ(placement.rope, (Rope{RopePairing::kInterleaved, 10000, 64}));
  EXPECT_EQ(placement.first_position, 4096u);
}

TEST(KvMetadataTest, NoneWithZeroesIsNone) {
  EXPECT_EQ(ParsePlacement({.rope = "none", .rope_base = "0", .rope_dims = "0"}, 128).value().rope, Rope{});
}

TEST(KvMetadataTest, BadRopeIsNamed) {
  EXPECT_THAT(Message({.rope = "neox"}), HasSubstr("rope is 'neox'; expected half, interleaved or none"));
}

TEST(KvMetadataTest, BadBaseIsNamed) {
  for (const char* base : {"", "abc", "1e4x", "nan", "inf", "-1", "0", "1e39", "1e-60"}) {
    EXPECT_THAT(Message({.rope = "half", .rope_base = base}), HasSubstr("rope_base is '" + std::string(base) + "'"));
  }
}

TEST(KvMetadataTest, RopeNeedsABase) {
  EXPECT_THAT(Message({.rope = "half"}), HasSubstr("rope is given without rope_base"));
}

TEST(KvMetadataTest, BaseOrDimsNeedARope) {
  for (const KvMetadata& metadata :
       {KvMetadata{.rope_base = "10000"}, {.rope_dims = "64"}, {.rope = "none", .rope_base = "10000"}}) {
    EXPECT_THAT(Message(metadata), HasSubstr("but rope is none or missing"));
  }
}

TEST(KvMetadataTest, BadDimsAreNamed) {
  for (const char* dims : {"130", "63", "-2", "x", "0"}) {
    EXPECT_THAT(Message({.rope = "half", .rope_base = "10000", .rope_dims = dims}),
                HasSubstr("rope_dims is '" + std::string(dims) + "'"));
  }
}

TEST(KvMetadataTest, BadFirstPositionIsNamed) {
  for (const char* position : {"-1", "1.5", "", "18446744073709551616"}) {
    EXPECT_THAT(Message({.first_position = position}), HasSubstr("first_position is '" + std::string(position) + "'"));
  }
}

}  // namespace
}  // namespace polarkv::cli
