#include "codec/block_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/codec/test_block.h"

namespace polarkv {
namespace {

using ::testing::HasSubstr;
using testing::MakeBlock;
using testing::SmallSpec;

// The bytes of a selection, cut out of the whole block as Fetch does.
std::vector<uint8_t> Cut(const std::vector<uint8_t>& block, const BlockSelection& selection) {
  const BlockLayout layout = ParseBlockPrefix(block).value();
  const std::vector<ByteRange> ranges = SelectionRanges(layout, selection).value();
  std::vector<uint8_t> cut;
  for (const ByteRange& range : ranges) {
    const auto begin = block.begin() + static_cast<ptrdiff_t>(range.offset);
    cut.insert(cut.end(), begin, begin + static_cast<ptrdiff_t>(range.length));
  }
  return cut;
}

bool SameBytes(std::span<const uint8_t> a, std::span<const uint8_t> b) { return std::ranges::equal(a, b); }

TEST(BlockView, SealedBlockIsReadBackAsWritten) {
  for (const CodecId k : AllCodecs()) {
    for (const CodecId v : AllCodecs()) {
      if (TraitsOf(v).keys_only) continue;
      const BlockSpec spec = SmallSpec({k, v});
      const std::vector<uint8_t> bytes = MakeBlock(spec);
      const absl::StatusOr<BlockView> view = BlockView::Parse(bytes, VerifyPayload::kYes);
      ASSERT_TRUE(view.ok()) << CodecPairName(spec.codec) << ": " << view.status();
      EXPECT_EQ(view->spec(), spec);
      EXPECT_EQ(view->planes(), view->layout().plane_mask());
      EXPECT_EQ(view->layer_begin(), 0u);
      EXPECT_EQ(view->layer_end(), 2u);
      EXPECT_EQ(view->header().total_bytes, bytes.size());
    }
  }
}

TEST(BlockView, TilesCoverTheSegmentsWithoutGaps) {
  const BlockSpec spec = SmallSpec();
  const std::vector<uint8_t> bytes = MakeBlock(spec);
  const BlockView view = BlockView::Parse(bytes, VerifyPayload::kYes).value();
  const uint8_t* next = bytes.data() + view.layout().payload_offset();
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    for (uint32_t plane = 0; plane < view.layout().planes(); ++plane) {
      EXPECT_EQ(view.entry(layer, plane).offset_units * uint64_t{64},
                view.layout().SegmentOffset(layer, view.layout().plane_kind(plane)));
      for (uint32_t head = 0; head < spec.kv_heads; ++head) {
        for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
          const auto span = view.Tile(layer, view.layout().plane_kind(plane), head, tile);
          ASSERT_EQ(span.data(), next);
          next += span.size();
        }
      }
    }
  }
  EXPECT_EQ(next, bytes.data() + bytes.size());
}

TEST(BlockView, EverySelectionHasTheWholeBlocksSegments) {
  const std::vector<uint8_t> block = MakeBlock(testing::LayeredSpec());
  const BlockView whole = BlockView::Parse(block, VerifyPayload::kYes).value();
  for (const auto& [begin, end] : {std::pair{0u, 0u}, {0u, 1u}, {1u, 2u}, {1u, 4u}, {2u, 0u}, {4u, 5u}}) {
    for (PlaneMask planes = 0; planes <= kAllPlanes; ++planes) {
      const BlockSelection selection = {begin, end, planes};
      const std::vector<uint8_t> cut = Cut(block, selection);
      const absl::StatusOr<BlockView> part = BlockView::ParseSelection(cut, selection, VerifyPayload::kYes);
      ASSERT_TRUE(part.ok()) << part.status();
      EXPECT_EQ(part->spec(), whole.spec());
      EXPECT_EQ(part->planes(), (planes | 1) & whole.layout().plane_mask());
      for (uint32_t layer = 0; layer < 6; ++layer) {
        for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
          const PlaneKind plane = static_cast<PlaneKind>(kind);
          const bool held = part->HasLayer(layer) && (part->planes() & PlaneBit(plane)) != 0;
          const auto expected = held ? whole.Segment(layer, plane) : std::span<const uint8_t>();
          EXPECT_TRUE(SameBytes(part->Segment(layer, plane), expected));
          const auto tile = held ? whole.Tile(layer, plane, 1, 1) : std::span<const uint8_t>();
          EXPECT_TRUE(SameBytes(part->Tile(layer, plane, 1, 1), tile));
        }
      }
    }
  }
}

TEST(BlockView, WholeBlockIsOneRange) {
  const BlockLayout layout = BlockLayout::Make(SmallSpec()).value();
  const std::vector<ByteRange> ranges = SelectionRanges(layout, {}).value();
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].offset, 0u);
  EXPECT_EQ(ranges[0].length, layout.total_bytes());
}

TEST(BlockView, BasePlanesAreAStridedReadAndLayersAContiguousOne) {
  BlockSpec spec = SmallSpec();
  spec.layers = 5;
  const BlockLayout layout = BlockLayout::Make(spec).value();
  const std::vector<ByteRange> base = SelectionRanges(layout, {0, 0, PlaneBit(PlaneKind::kBase)}).value();
  ASSERT_EQ(base.size(), 5u);  // the first one touches the directory
  for (size_t i = 1; i < base.size(); ++i) {
    EXPECT_EQ(base[i].offset, layout.SegmentOffset(static_cast<uint32_t>(i), PlaneKind::kBase));
    EXPECT_EQ(base[i].length, layout.SegmentBytes(0, PlaneKind::kBase));
  }
  const std::vector<ByteRange> layers = SelectionRanges(layout, {2, 4, kAllPlanes}).value();
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[0].length, layout.payload_offset());
  EXPECT_EQ(layers[1].offset, layout.LayerOffset(2));
  EXPECT_EQ(layers[1].length, 2 * layout.layer(2).bytes);
}

TEST(BlockView, AbsentLayersAreTheCallersMistake) {
  const std::vector<uint8_t> block = MakeBlock(SmallSpec());
  const BlockLayout layout = ParseBlockPrefix(block).value();
  for (const auto& [begin, end] : {std::pair{0u, 3u}, {2u, 2u}, {1u, 1u}, {2u, 1u}, {2u, 0u}, {7u, 0u}, {0u, ~0u}}) {
    const BlockSelection selection = {begin, end, kAllPlanes};
    const absl::Status ranges = SelectionRanges(layout, selection).status();
    EXPECT_TRUE(absl::IsInvalidArgument(ranges)) << ranges;
    EXPECT_THAT(std::string(ranges.message()), HasSubstr("no such layers"));
    EXPECT_EQ(BlockView::ParseSelection(block, selection, VerifyPayload::kNo).status(), ranges);
  }
}

TEST(BlockView, ASelectionOfAnotherSizeIsRejected) {
  const std::vector<uint8_t> block = MakeBlock(SmallSpec());
  std::vector<uint8_t> cut = Cut(block, {0, 1, 1});
  EXPECT_TRUE(absl::IsDataLoss(BlockView::ParseSelection(cut, {0, 2, 1}, VerifyPayload::kNo).status()));
  EXPECT_TRUE(absl::IsDataLoss(BlockView::ParseSelection(cut, {0, 1, 3}, VerifyPayload::kNo).status()));
  EXPECT_TRUE(absl::IsDataLoss(BlockView::Parse(cut, VerifyPayload::kNo).status()));
  cut.push_back(0);
  EXPECT_TRUE(absl::IsDataLoss(BlockView::ParseSelection(cut, {0, 1, 1}, VerifyPayload::kNo).status()));
}

TEST(BlockView, ASelectionTakenForAnotherOfTheSameSizeIsRejected) {
  // Two layers have the same size; their checksums tell them apart.
  const std::vector<uint8_t> block = MakeBlock(SmallSpec());
  const std::vector<uint8_t> cut = Cut(block, {0, 1, kAllPlanes});
  const absl::Status status = BlockView::ParseSelection(cut, {1, 2, kAllPlanes}, VerifyPayload::kYes).status();
  EXPECT_EQ(status, absl::DataLossError("damaged block: segment checksum of layer 1, plane 0 does not match"));
}

TEST(BlockView, EveryFlippedPayloadBitOfASelectionIsDetected) {
  const std::vector<uint8_t> block = MakeBlock(SmallSpec());
  const BlockSelection selection = {1, 2, PlaneBit(PlaneKind::kValueRefine1)};
  std::vector<uint8_t> cut = Cut(block, selection);
  for (size_t byte = ParseBlockPrefix(cut)->payload_offset(); byte < cut.size(); ++byte) {
    cut[byte] ^= static_cast<uint8_t>(1 << byte % 8);
    ASSERT_TRUE(absl::IsDataLoss(BlockView::ParseSelection(cut, selection, VerifyPayload::kYes).status())) << byte;
    cut[byte] ^= static_cast<uint8_t>(1 << byte % 8);
  }
}

TEST(BlockView, OutsideHeadsAndTilesAreEmpty) {
  const std::vector<uint8_t> block = MakeBlock(SmallSpec());
  const BlockView view = BlockView::Parse(block, VerifyPayload::kYes).value();
  EXPECT_TRUE(view.Tile(0, PlaneKind::kBase, 2, 0).empty());
  EXPECT_TRUE(view.Tile(0, PlaneKind::kBase, 0, 2).empty());
  EXPECT_TRUE(view.Tile(2, PlaneKind::kBase, 0, 0).empty());
}

TEST(SealBlock, SameSpecAndSegmentsGiveTheSameBytes) {
  const BlockLayout layout = BlockLayout::Make(SmallSpec()).value();
  std::vector<uint8_t> first = MakeBlock(SmallSpec());
  std::vector<uint8_t> second = first;
  // Whatever stood in header, directory and padding before does not matter.
  std::fill_n(second.begin(), layout.payload_offset(), uint8_t{0xAA});
  SealBlock(SmallSpec(), layout, second);
  EXPECT_EQ(first, second);
}

TEST(SealBlock, ASeedWithoutRotationIsNotStored) {
  BlockSpec spec = SmallSpec({CodecId::kFp16, CodecId::kPolar44});
  spec.rotation_seed = 99;
  const std::vector<uint8_t> block = MakeBlock(spec);
  const BlockView view = BlockView::Parse(block, VerifyPayload::kYes).value();
  EXPECT_EQ(view.header().rotation_seed, 0u);
  EXPECT_EQ(view.spec().rotation_seed, BlockSpec::kDefaultRotationSeed);
}

TEST(TagBlock, ChangesTheTagsAndNothingElse) {
  std::vector<uint8_t> block = MakeBlock(SmallSpec());
  BlockSpec tagged = SmallSpec();
  tagged.namespace_tag.fill(0x77);
  tagged.key_tag.fill(0x88);
  TagBlock(block, tagged.namespace_tag, tagged.key_tag);
  EXPECT_EQ(BlockView::Parse(block, VerifyPayload::kYes)->spec(), tagged);
  EXPECT_EQ(block, MakeBlock(tagged));
}

}  // namespace
}  // namespace polarkv
