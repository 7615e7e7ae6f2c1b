// Every defect is rejected with its own status and message, and nothing short of a whole, intact block is accepted.
#include "tests/codec/block_defects.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "tests/codec/test_block.h"

namespace polarkv {
namespace {

using testing::AllBlockDefects;
using testing::BlockBytes;
using testing::BlockDefect;
using testing::DefectPlace;
using testing::DefectSpec;
using testing::LayeredDefectSpec;
using testing::MakeBlock;

absl::Status ParseStatus(const BlockBytes& bytes) {
  // A vector of exactly these bytes: a sanitizer sees any read past them.
  const BlockBytes exact(bytes.begin(), bytes.end());
  return BlockView::Parse(exact, VerifyPayload::kYes).status();
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(BlockDefects, EachIsRejectedWithItsStatusAndMessage) {
  for (const BlockDefect& defect : AllBlockDefects()) {
    const absl::Status status = ParseStatus(defect.make());
    EXPECT_EQ(status.code(), defect.code) << defect.name;
    EXPECT_EQ(Message(status), defect.message) << defect.name;
  }
}

TEST(BlockDefects, NoTwoShareANameOrAMessage) {
  std::set<std::string> names, messages;
  for (const BlockDefect& defect : AllBlockDefects()) {
    EXPECT_TRUE(names.insert(defect.name).second) << defect.name;
    EXPECT_TRUE(messages.insert(defect.message).second) << defect.message;
  }
}

TEST(BlockDefects, UncheckedPayloadIsNotRead) {
  // With VerifyPayload::kNo only header, directory and sizes count.
  for (const BlockDefect& defect : AllBlockDefects()) {
    const BlockBytes bytes = defect.make();
    const bool in_payload = defect.place == DefectPlace::kPayload;
    EXPECT_EQ(BlockView::Parse(bytes, VerifyPayload::kNo).ok(), in_payload) << defect.name;
  }
}

TEST(BlockDefects, EveryFlippedBitIsDetected) {
  for (const BlockSpec& spec : {DefectSpec(), LayeredDefectSpec()}) {
    BlockBytes block = MakeBlock(spec);
    ASSERT_TRUE(ParseStatus(block).ok());
    for (size_t bit = 0; bit < 8 * block.size(); ++bit) {
      block[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      const absl::Status status = BlockView::Parse(block, VerifyPayload::kYes).status();
      // Intact blocks of a newer version are another matter than damage, also to whoever counts corruption.
      ASSERT_TRUE(absl::IsDataLoss(status)) << "bit " << bit << ": " << status;
      block[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    }
  }
}

TEST(BlockDefects, EveryTruncationIsDetected) {
  for (const BlockSpec& spec : {DefectSpec(), LayeredDefectSpec()}) {
    const BlockBytes block = MakeBlock(spec);
    for (size_t size = 0; size < block.size(); ++size) {
      const absl::Status status = ParseStatus(BlockBytes(block.begin(), block.begin() + static_cast<ptrdiff_t>(size)));
      ASSERT_TRUE(absl::IsDataLoss(status)) << size << ": " << status;
      ASSERT_NE(status.message().find("cut off"), std::string::npos) << size << ": " << status;
    }
  }
}

TEST(BlockDefects, MisalignedMemoryIsTheCallersMistake) {
  const BlockBytes block = MakeBlock(DefectSpec());
  BlockBytes shifted(block.size() + 1);
  std::ranges::copy(block, shifted.begin() + 1);
  const absl::Status status = BlockView::Parse(std::span(shifted).subspan(1), VerifyPayload::kYes).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  // Header and directory alone may lie anywhere.
  EXPECT_TRUE(ParseBlockHeader(std::span(shifted).subspan(1)).ok());
  EXPECT_TRUE(ParseBlockPrefix(std::span(shifted).subspan(1)).ok());
}

TEST(BlockDefects, HeaderAloneShowsHeaderDefects) {
  const BlockBytes block = MakeBlock(DefectSpec());
  EXPECT_EQ(ParseBlockHeader(std::span(block).first(128)).value(), DefectSpec());
  for (const BlockDefect& defect : AllBlockDefects()) {
    const bool after_header = defect.place != DefectPlace::kHeader;
    BlockBytes bytes = defect.make();
    bytes.resize(std::min<size_t>(bytes.size(), 128));
    EXPECT_EQ(Message(ParseBlockHeader(bytes).status()), after_header ? "" : defect.message) << defect.name;
  }
}

TEST(BlockDefects, HeaderAloneLacksWhatTheExtensionSays) {
  BlockSpec spec = LayeredDefectSpec();
  const BlockBytes block = MakeBlock(spec);
  spec.layer_parts.clear();
  spec.phases.clear();
  EXPECT_EQ(ParseBlockHeader(std::span(block).first(128)).value(), spec);
}

TEST(BlockDefects, PrefixAloneShowsDirectoryDefects) {
  const BlockBytes block = MakeBlock(DefectSpec());
  EXPECT_TRUE(ParseBlockPrefix(std::span(block).first(192)).ok());
  EXPECT_TRUE(absl::IsDataLoss(ParseBlockPrefix(std::span(block).first(191)).status()));
  const BlockBytes layered = MakeBlock(LayeredDefectSpec());
  EXPECT_TRUE(ParseBlockPrefix(std::span(layered).first(512)).ok());
  EXPECT_TRUE(absl::IsDataLoss(ParseBlockPrefix(std::span(layered).first(511)).status()));
  for (const BlockDefect& defect : AllBlockDefects()) {
    if (defect.name.rfind("segment-", 0) != 0 || defect.name == "segment-checksum") continue;
    const BlockBytes bytes = defect.make();
    EXPECT_EQ(Message(ParseBlockPrefix(std::span(bytes).first(192)).status()), defect.message);
  }
}

}  // namespace
}  // namespace polarkv
