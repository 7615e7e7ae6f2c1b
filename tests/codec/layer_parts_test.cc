// What single layers may have of their own: where it is in a block, how it is read back, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "codec/block_view.h"
#include "tests/codec/test_block.h"

namespace polarkv {
namespace {

using ::testing::HasSubstr;
using testing::LayeredSpec;
using testing::MakeBlock;

TEST(LayerParts, AreReadBackAsWritten) {
  const std::vector<uint8_t> block = MakeBlock(LayeredSpec());
  const absl::StatusOr<BlockView> view = BlockView::Parse(block, VerifyPayload::kYes);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->spec(), LayeredSpec());
  EXPECT_TRUE(std::ranges::equal(view->phases(), LayeredSpec().phases));
  // 5 entries of 16 bytes, 32 phases of 8, padded.
  EXPECT_EQ(view->layout().extension_bytes(), 384u);
  EXPECT_EQ(view->layout().directory_offset(), 128u + 384u);
}

TEST(LayerParts, ThatSayNothingAreNotStored) {
  BlockSpec spec = testing::SmallSpec();
  const std::vector<uint8_t> plain = MakeBlock(spec);
  spec.layer_parts.assign(spec.layers, {spec.codec});
  spec.phases.assign(32, 7);
  EXPECT_EQ(MakeBlock(spec), plain);
  EXPECT_TRUE(BlockView::Parse(plain, VerifyPayload::kYes)->spec().layer_parts.empty());
}

TEST(LayerParts, KeyMeansWithoutRopeNeedNoPhases) {
  BlockSpec spec = LayeredSpec();
  spec.rope = {};
  spec.phases.clear();
  const std::vector<uint8_t> block = MakeBlock(spec);
  const BlockView view = BlockView::Parse(block, VerifyPayload::kYes).value();
  EXPECT_EQ(view.spec(), spec);
  EXPECT_EQ(view.header().features, kFeatureLayerTable);
  EXPECT_FALSE(view.KeyMean(1, 0).halves.empty());
}

TEST(LayerParts, LayersFollowEachOtherWithTheirOwnPlanesAndTiles) {
  const BlockLayout layout = BlockLayout::Make(LayeredSpec()).value();
  EXPECT_EQ(layout.planes(), 5u);  // base, both first refinements, K's second, K's residual
  uint64_t next = layout.payload_offset();
  for (uint32_t layer = 0; layer < 5; ++layer) {
    EXPECT_EQ(layout.LayerOffset(layer), next);
    for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
      const PlaneKind plane = static_cast<PlaneKind>(kind);
      EXPECT_EQ(layout.SegmentOffset(layer, plane), next) << layer << " " << kind;
      EXPECT_EQ(next % 64, 0u);
      next += layout.SegmentBytes(layer, plane);
    }
  }
  EXPECT_EQ(next, layout.total_bytes());
  // fp16 and polar44 have no planes but the base; turbo3q has the residual.
  EXPECT_EQ(layout.layer(2).planes, 1u);
  EXPECT_EQ(layout.SegmentBytes(2, PlaneKind::kKeyRefine1), 0u);
  EXPECT_EQ(layout.SegmentBytes(4, PlaneKind::kKeyResidual), 4u * (128 + 8 * 64));
  // Two records of 16 + 128 bytes come to 320, four tiles, seven records to 1024.
  const LayerLayout& means = layout.layer(1);
  EXPECT_EQ(means.first_tile, 320u);
  EXPECT_EQ(means.first_escape, 320u + 4 * means.base_tile.bytes);
  EXPECT_EQ(layout.SegmentBytes(1, PlaneKind::kBase), means.first_escape + 1024);
}

TEST(LayerParts, RecordsAreWhereTheLayoutSays) {
  const std::vector<uint8_t> block = MakeBlock(LayeredSpec());
  const BlockView view = BlockView::Parse(block, VerifyPayload::kYes).value();
  const uint8_t* segment = view.Segment(1, PlaneKind::kBase).data();
  for (uint32_t head = 0; head < 2; ++head) {
    const VectorRecord mean = view.KeyMean(1, head);
    EXPECT_EQ(mean.exponent, 1);
    ASSERT_EQ(mean.halves.size(), 64u);
    EXPECT_EQ(reinterpret_cast<const uint8_t*>(mean.halves.data()), segment + head * 144 + 16);
  }
  for (uint32_t i = 0; i < 7; ++i) {
    const VectorRecord record = view.EscapeRecord(1, i);
    ASSERT_EQ(record.halves.size(), 64u);
    EXPECT_EQ(reinterpret_cast<const uint8_t*>(record.halves.data()),
              segment + view.layout().layer(1).first_escape + i * 144 + 16);
  }
  EXPECT_TRUE(view.KeyMean(1, 2).halves.empty());
  EXPECT_TRUE(view.KeyMean(0, 0).halves.empty());
  EXPECT_TRUE(view.KeyMean(5, 0).halves.empty());
  EXPECT_TRUE(view.EscapeRecord(1, 7).halves.empty());
  EXPECT_TRUE(view.EscapeRecord(0, 0).halves.empty());
  EXPECT_TRUE(view.EscapeRecord(9, 0).halves.empty());
}

TEST(LayerParts, ASelectionHasTheRecordsOfItsLayersAlone) {
  const std::vector<uint8_t> block = MakeBlock(LayeredSpec());
  const BlockView whole = BlockView::Parse(block, VerifyPayload::kYes).value();
  const BlockSelection selection = {3, 4, PlaneBit(PlaneKind::kBase)};
  std::vector<uint8_t> cut;
  const std::vector<ByteRange> ranges = SelectionRanges(whole.layout(), selection).value();
  for (const ByteRange& range : ranges) {
    const auto bytes = std::span(block).subspan(range.offset, range.length);
    cut.insert(cut.end(), bytes.begin(), bytes.end());
  }
  const BlockView part = BlockView::ParseSelection(cut, selection, VerifyPayload::kYes).value();
  EXPECT_TRUE(std::ranges::equal(part.KeyMean(3, 1).halves, whole.KeyMean(3, 1).halves));
  EXPECT_TRUE(std::ranges::equal(part.EscapeRecord(3, 3).halves, whole.EscapeRecord(3, 3).halves));
  EXPECT_TRUE(part.KeyMean(1, 0).halves.empty());
  EXPECT_TRUE(part.EscapeRecord(4, 0).halves.empty());
}

struct BadPart {
  const char* message;
  void (*change)(BlockSpec&);
};

TEST(LayerParts, EveryDefectIsNamed) {
  const BadPart bad[] = {
      {"number of layer_parts is 4", [](BlockSpec& s) { s.layer_parts.pop_back(); }},
      {"layer 3: k_codec is 0", [](BlockSpec& s) { s.layer_parts[3].codec.k = static_cast<CodecId>(0); }},
      {"layer 0: v_codec is 255", [](BlockSpec& s) { s.layer_parts[0].codec.v = static_cast<CodecId>(255); }},
      {"layer 4: v_codec is qjl1; valid: codecs that are not for keys only",
       [](BlockSpec& s) { s.layer_parts[4].codec.v = CodecId::kQjl1; }},
      {"layer 2: key_mean is set", [](BlockSpec& s) { s.layer_parts[2].key_mean = true; }},
      {"layer 2: escapes is 1; valid: 0 to 0", [](BlockSpec& s) { s.layer_parts[2].escapes = 1; }},
      {"layer 3: escapes is 141; valid: 0 to 140", [](BlockSpec& s) { s.layer_parts[3].escapes = 141; }},
      {"layer 1: escapes is 281; valid: 0 to 280", [](BlockSpec& s) { s.layer_parts[1].escapes = 281; }},
      {"number of phases is 31; valid: rope_dims / 2 (32)", [](BlockSpec& s) { s.phases.pop_back(); }},
  };
  for (const BadPart& part : bad) {
    BlockSpec spec = LayeredSpec();
    part.change(spec);
    const absl::Status status = BlockLayout::Make(spec).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << part.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(part.message));
  }
}

TEST(LayerParts, BlocksThatRecordsTakeOverTheLimitAreRefused) {
  BlockSpec spec = testing::SmallSpec();
  spec.layers = 1;
  spec.kv_heads = 48;
  spec.first_kv_head = 0;
  spec.tokens = kMaxBlockTokens;
  ASSERT_TRUE(BlockLayout::Make(spec).ok());
  spec.layer_parts = {{spec.codec, false, 2u * 48 * kMaxBlockTokens}};
  const absl::Status status = BlockLayout::Make(spec).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("the limit is 1073741824"));
}

}  // namespace
}  // namespace polarkv
