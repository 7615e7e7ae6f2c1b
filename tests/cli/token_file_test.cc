#include "client/cli/token_file.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<std::vector<int32_t>> Parse(const std::string& content) {
  return ParseTokens({reinterpret_cast<const uint8_t*>(content.data()), content.size()});
}

std::string Message(const std::string& content) { return std::string(Parse(content).status().message()); }

TEST(TokenFileTest, ReadsAJsonArray) {
  EXPECT_THAT(Parse(" \n[1, 2147483647,\n0]\n").value(), ElementsAre(1, 2147483647, 0));
}

TEST(TokenFileTest, ReadsLittleEndianInt32) {
  EXPECT_THAT(Parse(std::string("\x01\0\0\0\x00\x01\0\0", 8)).value(), ElementsAre(1, 256));
}

TEST(TokenFileTest, BinaryThatBeginsLikeJsonIsBinary) {
  EXPECT_THAT(Parse(std::string("[\0\0\0", 4)).value(), ElementsAre(91));
}

TEST(TokenFileTest, NoTokensAreRefused) {
  EXPECT_THAT(Message(""), HasSubstr("holds no token id"));
  EXPECT_THAT(Message("[]"), HasSubstr("holds no token id"));
}

TEST(TokenFileTest, BadJsonIsRefused) {
  EXPECT_THAT(Message("[1, 2"), HasSubstr("is not a JSON array"));
  EXPECT_THAT(Message("[1, -2]"), HasSubstr("element 1 is not a token id"));
  EXPECT_THAT(Message("[2147483648]"), HasSubstr("element 0 is not a token id"));
  EXPECT_THAT(Message("[1.5]"), HasSubstr("element 0 is not a token id"));
  EXPECT_THAT(Message("[[1]]"), HasSubstr("element 0 is not a token id"));
}

TEST(TokenFileTest, BadBinaryIsRefused) {
  EXPECT_THAT(Message("{\"input_ids\": [1, 2]}   "), HasSubstr("is text, but no JSON array"));
  EXPECT_THAT(Message(std::string("\x01\0\0\0\0", 5)), HasSubstr("neither a JSON array nor whole"));
  EXPECT_THAT(Message(std::string("\x01\0\0\0\xFF\xFF\xFF\xFF", 8)), HasSubstr("id -1 at index 1 is negative"));
}

}  // namespace
}  // namespace polarkv::cli
