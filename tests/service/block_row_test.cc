#include "service/block_row.h"

#include "gtest/gtest.h"

namespace polarkv {
namespace {

BlockRow Row() {
  BlockRow row;
  row.name.ns = 0x01020304;
  row.name.key.bytes.fill(7);
  row.parent = BlockKey{};
  row.parent->bytes.fill(6);
  row.block_index = 12;
  row.size = 3 * kExtentBytes - 5;
  row.header_xxh3 = 0x1122334455667788;
  row.sequence = 99;
  row.extents = {{5, 2}, {100, 1}};
  return row;
}

TEST(BlockRowTest, ReadsBackWhatItWrote) {
  BlockRow row = Row();
  EXPECT_EQ(ParseBlockRow(row.name, EncodeBlockRow(row)), row);
  row.parent.reset();
  EXPECT_EQ(ParseBlockRow(row.name, EncodeBlockRow(row)), row);
  EXPECT_EQ(ParseBlockRowKey(BlockRowKey(row.name)), row.name);
  EXPECT_EQ(ParseBlockRowKey(IntentRowKey(row.name)), row.name);
  EXPECT_EQ(ParseNamespaceRowKey(NamespaceRowKey(77)), 77u);
  EXPECT_EQ(ParseNumber(EncodeNumber(UINT64_MAX)), UINT64_MAX);
}

TEST(BlockRowTest, KeysOfANamespaceAreTogether) {
  BlockName first = Row().name, last = first, next = first;
  first.key.bytes.fill(0);
  last.key.bytes.fill(0xFF);
  ++next.ns;
  next.key.bytes.fill(0);
  EXPECT_LT(BlockRowKey(first), BlockRowKey(last));
  EXPECT_LT(BlockRowKey(last), BlockRowKey(next));
}

TEST(BlockRowTest, RefusesWhatIsNotARow) {
  const BlockRow row = Row();
  const std::string good = EncodeBlockRow(row);
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(ParseBlockRow(row.name, good.substr(0, length)).has_value()) << length;
  }
  EXPECT_FALSE(ParseBlockRow(row.name, good + "x").has_value());
  std::string bad_parent = good;
  bad_parent[0] = 2;
  EXPECT_FALSE(ParseBlockRow(row.name, bad_parent).has_value());
  BlockRow short_of_space = row;
  short_of_space.size += kExtentBytes;
  EXPECT_FALSE(ParseBlockRow(row.name, EncodeBlockRow(short_of_space)).has_value());
  EXPECT_FALSE(ParseBlockRowKey("b123").has_value());
  EXPECT_FALSE(ParseNamespaceRowKey("n").has_value());
  EXPECT_FALSE(ParseNumber("12345").has_value());
}

}  // namespace
}  // namespace polarkv
