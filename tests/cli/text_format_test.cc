#include "client/cli/text_format.h"

#include <array>

#include "gtest/gtest.h"

namespace polarkv::cli {
namespace {

TEST(TextFormatTest, BytesChangeUnitBeforeFourDigits) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1024), "1.0 KiB");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(HumanBytes(uint64_t{5} << 30), "5.0 GiB");
  EXPECT_EQ(HumanBytes(~uint64_t{0}), "16.0 EiB");
}

TEST(TextFormatTest, OneIsSingular) {
  EXPECT_EQ(Plural(1, "block"), "1 block");
  EXPECT_EQ(Plural(0, "block"), "0 blocks");
}

TEST(TextFormatTest, HexHasTwoDigitsAByte) { EXPECT_EQ(HexText(std::array<uint8_t, 3>{0x00, 0x0A, 0xFF}), "000aff"); }

}  // namespace
}  // namespace polarkv::cli
