// Blocks written once and committed: every later build reads them, writes the same bytes and rejects the bad ones
// alike.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>

#include "tests/codec/block_defects.h"
#include "tests/codec/profile_samples.h"
#include "tests/golden/golden_blocks.h"

namespace polarkv {
namespace {

namespace fs = std::filesystem;
using testing::AllBlockDefects;
using testing::BlockDefect;
using testing::GoldenBlock;
using testing::GoldenBlocks;
using testing::ReadBytes;

const fs::path kGood = fs::path(POLARKV_SOURCE_DIR) / "tests/golden/v2";
const fs::path kBad = fs::path(POLARKV_SOURCE_DIR) / "tests/golden/bad";
const fs::path kProfiles = fs::path(POLARKV_SOURCE_DIR) / "tests/golden/profile";

std::set<std::string> FilesIn(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

TEST(GoldenBlocks, AreReadAsTheyWereWritten) {
  for (const GoldenBlock& block : GoldenBlocks()) {
    const std::vector<uint8_t> bytes = ReadBytes(kGood / (block.name + ".pkv"));
    const absl::StatusOr<BlockView> view = BlockView::Parse(bytes, VerifyPayload::kYes, testing::GoldenProfile());
    ASSERT_TRUE(view.ok()) << block.name << ": " << view.status();
    // The encoder's own choices apart.
    BlockSpec spec = view->spec();
    const bool means = std::ranges::any_of(spec.layer_parts, &LayerPart::key_mean);
    const bool escapes = std::ranges::any_of(spec.layer_parts, [](const LayerPart& part) { return part.escapes > 0; });
    EXPECT_EQ(means, block.options.key_mean == KeyMeanPolicy::kAlways) << block.name;
    EXPECT_EQ(escapes, block.options.raw_first_tokens > 0) << block.name;
    for (LayerPart& part : spec.layer_parts) part = LayerPart{part.codec};
    BlockSpec expected = block.spec;
    if (!spec.layer_parts.empty() && expected.layer_parts.empty()) {
      expected.layer_parts.assign(expected.layers, {expected.codec});
    }
    if (expected.phases.empty()) expected.phases = spec.phases;
    EXPECT_EQ(spec, expected) << block.name;
  }
}

TEST(GoldenBlocks, DecodeToTheSameBits) {
  for (const GoldenBlock& block : GoldenBlocks()) {
    const std::vector<uint8_t> bytes = ReadBytes(kGood / (block.name + ".pkv"));
    const std::vector<float> decoded = testing::DecodeGolden(BlockView::Parse(bytes, VerifyPayload::kYes, testing::GoldenProfile()).value());
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
  const auto for_values = std::ranges::count_if(AllCodecTraits(), [](const CodecTraits& c) { return !c.keys_only; });
  EXPECT_EQ(v.size(), static_cast<size_t>(for_values));
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
    const absl::Status status = BlockView::Parse(bytes, VerifyPayload::kYes, testing::GoldenProfile()).status();
    EXPECT_EQ(status.code(), defect.code) << defect.name;
    EXPECT_EQ(std::string(status.message()), defect.message) << defect.name;
  }
}

TEST(BadBlocks, NoFileIsLeftOver) {
  std::set<std::string> expected;
  for (const BlockDefect& defect : AllBlockDefects()) expected.insert(defect.name + ".pkv");
  EXPECT_EQ(FilesIn(kBad), expected);
}

TEST(GoldenProfiles, AreReadAndWrittenAsTheyWere) {
  const std::vector<uint8_t> bytes = ReadBytes(kProfiles / "good.pkm");
  const KeyMeanProfilePtr profile = KeyMeanProfile::Parse(bytes).value();
  EXPECT_EQ(profile->digest(), testing::GoldenProfile()->digest());
  EXPECT_TRUE(std::ranges::equal(bytes, testing::GoldenProfile()->bytes()));
}

TEST(GoldenProfiles, BadOnesAreRejectedWithTheirMessages) {
  std::set<std::string> expected = {"good.pkm"};
  for (const testing::ProfileDefect& defect : testing::AllProfileDefects()) {
    expected.insert(defect.name + ".pkm");
    const absl::Status status = KeyMeanProfile::Parse(ReadBytes(kProfiles / (defect.name + ".pkm"))).status();
    EXPECT_EQ(status.code(), defect.code) << defect.name;
    EXPECT_EQ(std::string(status.message()), defect.message) << defect.name;
  }
  EXPECT_EQ(FilesIn(kProfiles), expected);
}

TEST(GoldenFiles, StaySmall) {
  uintmax_t total = 0;
  for (const fs::path& folder : {kGood, kBad, kProfiles}) {
    for (const auto& entry : fs::directory_iterator(folder)) total += entry.file_size();
  }
  EXPECT_LT(total, uintmax_t{2} << 20);
}

}  // namespace
}  // namespace polarkv
