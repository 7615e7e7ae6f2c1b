// Blocks written once and committed: every later build reads them, writes the same bytes and rejects the bad ones
// alike.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <set>
#include <string>

#include "tests/codec/block_defects.h"
#include "tests/golden/golden_blocks.h"

namespace polarkv {
namespace {

namespace fs = std::filesystem;
using testing::AllBlockDefects;
using testing::BlockDefect;
using testing::GoldenBlock;
using testing::GoldenBlocks;
using testing::ReadBytes;

const fs::path kGood = fs::path(POLARKV_SOURCE_DIR) / "tests/golden/v1";
const fs::path kBad = fs::path(POLARKV_SOURCE_DIR) / "tests/golden/bad";

std::set<std::string> FilesIn(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

TEST(GoldenBlocks, AreReadAsTheyWereWritten) {
  for (const GoldenBlock& block : GoldenBlocks()) {
    const std::vector<uint8_t> bytes = ReadBytes(kGood / (block.name + ".pkv"));
    const absl::StatusOr<BlockView> view = BlockView::Parse(bytes, VerifyPayload::kYes);
    ASSERT_TRUE(view.ok()) << block.name << ": " << view.status();
    EXPECT_EQ(view->spec(), block.spec) << block.name;
  }
}

TEST(GoldenBlocks, DecodeToTheSameBits) {
  for (const GoldenBlock& block : GoldenBlocks()) {
    const std::vector<uint8_t> bytes = ReadBytes(kGood / (block.name + ".pkv"));
    const std::vector<float> decoded = testing::DecodeGolden(BlockView::Parse(bytes, VerifyPayload::kYes).value());
    const std::vector<uint8_t> expected = ReadBytes(kGood / (block.name + ".f32"));
    ASSERT_FALSE(decoded.empty()) << block.name;
    ASSERT_EQ(expected.size(), decoded.size() * sizeof(float)) << block.name;
    EXPECT_EQ(std::memcmp(expected.data(), decoded.data(), expected.size()), 0) << block.name;
  }
}

TEST(GoldenBlocks, TheSameInputGivesTheSameBytes) {
  for (const GoldenBlock& block : GoldenBlocks()) {
    EXPECT_TRUE(testing::EncodeGolden(block) == ReadBytes(kGood / (block.name + ".pkv"))) << block.name;
  }
}

TEST(GoldenBlocks, EveryCodecIsThere) {
  std::set<CodecId> k, v;
  std::set<uint16_t> head_dims;
  for (const GoldenBlock& block : GoldenBlocks()) {
    k.insert(block.spec.codec.k);
    v.insert(block.spec.codec.v);
    head_dims.insert(block.spec.head_dim);
  }
  EXPECT_EQ(k.size(), AllCodecs().size());
  EXPECT_EQ(v.size(), AllCodecs().size());
  EXPECT_EQ(head_dims.size(), kHeadDims.size());
}

TEST(GoldenBlocks, NoFileIsLeftOver) {
  std::set<std::string> expected;
  for (const GoldenBlock& block : GoldenBlocks()) {
    expected.insert(block.name + ".pkv");
    expected.insert(block.name + ".f32");
  }
  EXPECT_EQ(FilesIn(kGood), expected);
}

TEST(BadBlocks, AreRejectedWithTheirMessages) {
  for (const BlockDefect& defect : AllBlockDefects()) {
    const fs::path path = kBad / (defect.name + ".pkv");
    ASSERT_TRUE(fs::exists(path)) << path;
    const std::vector<uint8_t> bytes = ReadBytes(path);
    const absl::Status status = BlockView::Parse(bytes, VerifyPayload::kYes).status();
    EXPECT_EQ(status.code(), defect.code) << defect.name;
    EXPECT_EQ(std::string(status.message()), defect.message) << defect.name;
  }
}

TEST(BadBlocks, NoFileIsLeftOver) {
  std::set<std::string> expected;
  for (const BlockDefect& defect : AllBlockDefects()) expected.insert(defect.name + ".pkv");
  EXPECT_EQ(FilesIn(kBad), expected);
}

TEST(GoldenFiles, StaySmall) {
  uintmax_t total = 0;
  for (const fs::path& folder : {kGood, kBad}) {
    for (const auto& entry : fs::directory_iterator(folder)) total += entry.file_size();
  }
  EXPECT_LT(total, uintmax_t{1} << 20);
}

}  // namespace
}  // namespace polarkv
