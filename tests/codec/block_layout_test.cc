#include "codec/block_layout.h"

#include <gtest/gtest.h>

#include <string>

#include "codec/band_table.h"
#include "codec/outlier_channels.h"
#include "tests/codec/test_block.h"

namespace polarkv {
namespace {

using testing::SmallSpec;

TEST(BlockLayout, EverythingIsAlignedAndAdjacent) {
  for (const uint32_t head_dim : kHeadDims) {
    for (const CodecId k : AllCodecs()) {
      for (const CodecId v : AllCodecs()) {
        if (TraitsOf(v).keys_only) continue;
        BlockSpec spec = SmallSpec({k, v});
        spec.head_dim = static_cast<uint16_t>(head_dim);
        const BlockLayout layout = BlockLayout::Make(spec).value();
        const BaseTileLayout& tile = layout.layer(0).base_tile;
        for (const uint32_t part : {tile.k_scales, tile.v_scales, tile.k_payload, tile.v_payload, tile.bytes}) {
          EXPECT_EQ(part % 64, 0u) << CodecPairName(spec.codec) << " " << head_dim;
        }
        uint64_t next = layout.payload_offset();
        EXPECT_EQ(next % 64, 0u);
        EXPECT_GE(next, 128 + 16u * layout.directory_entries());
        EXPECT_LT(next, 128 + 16u * layout.directory_entries() + 64);
        for (uint32_t layer = 0; layer < layout.layers(); ++layer) {
          for (uint32_t plane = 0; plane < layout.planes(); ++plane) {
            const PlaneKind kind = layout.plane_kind(plane);
            EXPECT_EQ(layout.SegmentOffset(layer, kind), next);
            const uint32_t before_tiles = kind == PlaneKind::kBase ? layout.layer(layer).first_tile : 0;
            EXPECT_EQ(before_tiles, kind == PlaneKind::kBase && IsBanded(k) ? (2 * 5 * head_dim / 8 + 63) / 64 * 64 : 0);
            EXPECT_EQ(layout.SegmentBytes(layer, kind), before_tiles + 4 * layout.layer(layer).TileBytes(kind));
            EXPECT_EQ(layout.layer(layer).TileBytes(kind) % 64, 0u);
            next += layout.SegmentBytes(layer, kind);
          }
        }
        EXPECT_EQ(next, layout.total_bytes());
      }
    }
  }
}

TEST(BlockLayout, PlanesAreThoseOfTheCodecsInPlaneOrder) {
  using enum PlaneKind;
  const auto planes = [](CodecId k, CodecId v) {
    const BlockLayout layout = BlockLayout::Make(SmallSpec({k, v})).value();
    std::vector<PlaneKind> kinds;
    for (uint32_t i = 0; i < layout.planes(); ++i) {
      kinds.push_back(layout.plane_kind(i));
      EXPECT_EQ(layout.PlaneIndex(layout.plane_kind(i)), static_cast<int>(i));
      EXPECT_NE(layout.plane_mask() & PlaneBit(layout.plane_kind(i)), 0u);
    }
    return kinds;
  };
  EXPECT_EQ(planes(CodecId::kFp16, CodecId::kPolar44), (std::vector{kBase}));
  EXPECT_EQ(planes(CodecId::kTurbo2, CodecId::kTurbo2), (std::vector{kBase}));
  EXPECT_EQ(planes(CodecId::kTurbo3, CodecId::kTurbo2), (std::vector{kBase, kKeyRefine1}));
  EXPECT_EQ(planes(CodecId::kTurbo2, CodecId::kTurbo4), (std::vector{kBase, kValueRefine1, kValueRefine0}));
  EXPECT_EQ(planes(CodecId::kTurbo4, CodecId::kTurbo3), (std::vector{kBase, kKeyRefine1, kValueRefine1, kKeyRefine0}));
  EXPECT_EQ(planes(CodecId::kTurbo2Qjl, CodecId::kTurbo3), (std::vector{kBase, kValueRefine1, kKeyResidual}));
  EXPECT_EQ(planes(CodecId::kTurbo5, CodecId::kTrellis3), (std::vector{kBase, kKeyRefine1, kKeyRefine0}));
  EXPECT_EQ(BlockLayout::Make(SmallSpec({CodecId::kTurbo4, CodecId::kTurbo2}))->PlaneIndex(kValueRefine1), -1);
}

TEST(BlockLayout, TileOffsetsAreHeadMajor) {
  const BlockLayout layout = BlockLayout::Make(SmallSpec()).value();
  EXPECT_EQ(layout.tiles(), 2u);
  const LayerLayout& layer = layout.layer(0);
  EXPECT_EQ(layout.TileOffset(0, PlaneKind::kBase, 0, 1), layer.TileBytes(PlaneKind::kBase));
  EXPECT_EQ(layout.TileOffset(0, PlaneKind::kBase, 1, 0), 2u * layer.TileBytes(PlaneKind::kBase));
  EXPECT_EQ(layout.TileOffset(0, PlaneKind::kKeyRefine1, 1, 1), 3u * layer.TileBytes(PlaneKind::kKeyRefine1));
}

TEST(BlockLayout, BlocksOverTheLimitAreRefused) {
  BlockSpec spec = SmallSpec({CodecId::kFp16, CodecId::kFp16});
  spec.layers = 1;
  spec.kv_heads = 1;
  spec.head_dim = 256;
  spec.tokens = kMaxBlockTokens;
  // 1024 tiles of 64 + 2 * 128 * 256 bytes: sixteen heads are over 2^30 bytes, fifteen are not.
  spec.kv_heads = 15;
  EXPECT_TRUE(BlockLayout::Make(spec).ok());
  spec.kv_heads = 16;
  const absl::Status status = BlockLayout::Make(spec).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(std::string(status.message()).find("1074790592 bytes; the limit is 1073741824"), std::string::npos)
      << status;
}

TEST(BlockLayout, LargestFieldsDoNotOverflow) {
  BlockSpec spec = SmallSpec({CodecId::kFp16, CodecId::kFp16});
  spec.layers = kMaxLayers;
  spec.kv_heads = kMaxKvHeads;
  spec.first_kv_head = 0;
  spec.head_dim = 256;
  spec.tokens = kMaxBlockTokens;
  EXPECT_TRUE(absl::IsInvalidArgument(BlockLayout::Make(spec).status()));
}

TEST(CodecBits, EverythingInATileIsCounted) {
  // d = 128: half a tile head (256 bits), 64 scales of 8 bits, the codes; over 64 * 128 coordinates.
  const auto bits = [](CodecId codec) { return CodecBits({codec, codec}, 128).k; };
  EXPECT_DOUBLE_EQ(bits(CodecId::kFp16), 16 + 256.0 / 8192);
  EXPECT_DOUBLE_EQ(bits(CodecId::kTurbo1), 1 + (256.0 + 512) / 8192);
  EXPECT_DOUBLE_EQ(bits(CodecId::kTurbo2), 2 + (256.0 + 512) / 8192);
  EXPECT_DOUBLE_EQ(bits(CodecId::kTurbo3), 3 + (256.0 + 512) / 8192);
  EXPECT_DOUBLE_EQ(bits(CodecId::kTurbo4), 4 + (256.0 + 512) / 8192);
  EXPECT_DOUBLE_EQ(bits(CodecId::kTurbo5), 5 + (256.0 + 512) / 8192);
  EXPECT_DOUBLE_EQ(bits(CodecId::kTrellis3), 3 + (256.0 + 512) / 8192);
  EXPECT_DOUBLE_EQ(bits(CodecId::kDeep1_5), 1.5 + (256.0 + 512) / 8192);
  EXPECT_DOUBLE_EQ(bits(CodecId::kPolarRecursive), 62.0 / 16 + 256.0 / 8192);
  EXPECT_DOUBLE_EQ(bits(CodecId::kQjl4), 4 + (256.0 + 512) / 8192);
  // And 64 norms of 16 bits.
  EXPECT_DOUBLE_EQ(bits(CodecId::kTurbo3Qjl), 4 + (256.0 + 512 + 1024) / 8192);
  // Four parameters of 16 bits for each of 64 pairs.
  EXPECT_DOUBLE_EQ(bits(CodecId::kPolar44), 4 + (256.0 + 64 * 64) / 8192);
  EXPECT_DOUBLE_EQ(bits(PolarCodec(2, 1)), 1.5 + (256.0 + 64 * 64) / 8192);
}

TEST(CodecBits, CodesAreWhatTheTraitsSay) {
  for (const CodecTraits& codec : AllCodecTraits()) {
    const double parameters = codec.kind == CodecKind::kPolar ? 64.0 * 64 : 0;
    const double norms = codec.residual_plane || HasOutlierChannels(codec.id) ? 1024 : 0;  // or outlier channels and scales
    const double overhead = (256 + (codec.has_scales ? 512 : 0) + parameters + norms) / 8192;
    EXPECT_DOUBLE_EQ(CodecBits({codec.id, codec.id}, 128).k, codec.eighth_bits / 8.0 + overhead) << CodecName(codec.id);
  }
}

TEST(CodecBits, SumToTheBytesOfAFullTile) {
  for (const uint32_t head_dim : kHeadDims) {
    for (const CodecId k : AllCodecs()) {
      for (const CodecId v : AllCodecs()) {
        if (TraitsOf(v).keys_only) continue;
        BlockSpec spec = SmallSpec({k, v});
        spec.head_dim = static_cast<uint16_t>(head_dim);
        spec.tokens = 64;
        const BlockLayout layout = BlockLayout::Make(spec).value();
        const BitsPerCoordinate bits = CodecBits({k, v}, head_dim);
        const double tiles = static_cast<double>(layout.layer(0).bytes) - layout.layer(0).first_tile;
        EXPECT_DOUBLE_EQ((bits.k + bits.v) * 64 * head_dim / 8, tiles / 2);
      }
    }
  }
}

}  // namespace
}  // namespace polarkv
