#include "codec/block_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/codec/test_block.h"

namespace polarkv {
namespace {

using testing::MakeBlock;
using testing::SmallSpec;

TEST(BlockView, SealedBlockIsReadBackAsWritten) {
  for (const CodecId k : AllCodecs()) {
    for (const CodecId v : AllCodecs()) {
      const BlockSpec spec = SmallSpec({k, v});
      const std::vector<uint8_t> bytes = MakeBlock(spec);
      const absl::StatusOr<BlockView> view = BlockView::Parse(bytes, VerifyPayload::kYes);
      ASSERT_TRUE(view.ok()) << CodecPairName(spec.codec) << ": " << view.status();
      EXPECT_EQ(view->spec(), spec);
      EXPECT_EQ(view->planes(), view->layout().plane_mask());
      EXPECT_EQ(view->layer_end(), 2u);
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

}  // namespace
}  // namespace polarkv
