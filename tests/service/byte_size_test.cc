#include "service/byte_size.h"

#include "gtest/gtest.h"

namespace polarkv {
namespace {

TEST(ByteSizeTest, ReadsWhatPeopleWrite) {
  EXPECT_EQ(ParseByteSize("1048576").value(), 1048576u);
  EXPECT_EQ(ParseByteSize("4GiB").value(), uint64_t{4} << 30);
  EXPECT_EQ(ParseByteSize("4 gib").value(), uint64_t{4} << 30);
  EXPECT_EQ(ParseByteSize("64k").value(), 65536u);
  EXPECT_EQ(ParseByteSize("500MB").value(), 500000000u);
  EXPECT_EQ(ParseByteSize("1.5KiB").value(), 1536u);
  EXPECT_EQ(ParseByteSize("12B").value(), 12u);
  EXPECT_EQ(ParseByteSize("2T").value(), uint64_t{2} << 40);
}

TEST(ByteSizeTest, RefusesTheRestAndShowsHow) {
  for (const char* bad : {"", "GiB", "4GiBB", "4XiB", "-4GiB", "1.2.3", "9EiB", "1e3", "4 G B"}) {
    const auto size = ParseByteSize(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(size.status())) << bad;
  }
  EXPECT_NE(ParseByteSize("lots").status().message().find("4GiB"), absl::string_view::npos);
}

TEST(ByteSizeTest, WritesSizesShortly) {
  EXPECT_EQ(FormatByteSize(0), "0 B");
  EXPECT_EQ(FormatByteSize(1023), "1023 B");
  EXPECT_EQ(FormatByteSize(1536), "1.5 KiB");
  EXPECT_EQ(FormatByteSize(uint64_t{16} << 30), "16.0 GiB");
  EXPECT_EQ(FormatByteSize(UINT64_MAX), "16.0 EiB");
}

}  // namespace
}  // namespace polarkv
