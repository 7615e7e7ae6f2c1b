// Blocks whose checksums are all right but whose writer meant harm: no read past the bytes, no memory on their say-so.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tests/codec/allocation_watch.h"
#include "tests/codec/block_defects.h"
#include "tests/codec/test_block.h"

namespace polarkv {
namespace {

using testing::BlockBytes;
using testing::DefectSpec;
using testing::LayeredDefectSpec;
using testing::MakeBlock;

// Messages, and what follows from tables that are there in full: some bytes for each of theirs.
constexpr size_t kMessageBytes = 1024;
constexpr size_t kTableFactor = 8;

// Touches every byte that an accepted block gives out.
uint64_t Walk(const BlockView& view) {
  uint64_t sum = 0;
  for (uint32_t layer = view.layer_begin(); layer < view.layer_end(); ++layer) {
    for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
      for (uint32_t head = 0; head < view.spec().kv_heads; ++head) {
        for (uint32_t tile = 0; tile < view.spec().tiles(); ++tile) {
          for (const uint8_t byte : view.Tile(layer, static_cast<PlaneKind>(kind), head, tile)) sum += byte;
        }
      }
    }
    for (uint32_t head = 0; head <= view.spec().kv_heads; ++head) {
      for (const uint16_t half : view.KeyMean(layer, head).halves) sum += half;
    }
    for (uint32_t i = 0; i <= view.layout().layer(layer).escapes; ++i) {
      for (const uint16_t half : view.EscapeRecord(layer, i).halves) sum += half;
    }
  }
  return sum;
}

// Parses a copy of exactly these bytes in every way; returns whether the whole block was accepted.
bool ParseEverything(const BlockBytes& bytes) {
  const BlockBytes exact(bytes.begin(), bytes.end());
  testing::ForgetAllocations();
  uint64_t sum = 0;
  bool accepted = false;
  for (const VerifyPayload verify : {VerifyPayload::kNo, VerifyPayload::kYes}) {
    const absl::StatusOr<BlockView> whole = BlockView::Parse(exact, verify);
    if (whole.ok()) sum += Walk(*whole);
    accepted = whole.ok();
    for (const PlaneMask planes : {PlaneMask{0}, PlaneMask{2}, kAllPlanes}) {
      const absl::StatusOr<BlockView> part = BlockView::ParseSelection(exact, {0, 1, planes}, verify);
      if (part.ok()) sum += Walk(*part);
    }
  }
  EXPECT_LE(testing::LargestAllocation(), kMessageBytes + kTableFactor * bytes.size());
  const volatile uint64_t sink = sum;  // keeps the reads
  static_cast<void>(sink);
  return accepted;
}

TEST(HostileBlock, HeaderFieldsOfAnySizeNeitherOverreadNorAllocate) {
  for (const BlockBytes& good : {MakeBlock(DefectSpec()), MakeBlock(LayeredDefectSpec())}) {
  ASSERT_TRUE(ParseEverything(good));
  std::mt19937_64 random(1);
  const uint64_t extremes[] = {0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, ~uint64_t{0}};
  // Every aligned field of every width, set to every extreme and to random bits.
  for (const size_t width : {1u, 2u, 4u, 8u}) {
    for (size_t offset = 0; offset + width <= offsetof(BlockHeader, header_xxh3); offset += width) {
      for (size_t i = 0; i < std::size(extremes) + 8; ++i) {
        const uint64_t value = i < std::size(extremes) ? extremes[i] : random();
        BlockBytes block = good;
        std::memcpy(block.data() + offset, &value, width);
        testing::ResealHeader(block);
        ParseEverything(block);
      }
    }
  }
  }
}

TEST(HostileBlock, ShapesThatClaimMoreThanTheBytesHoldAreRejected) {
  std::mt19937 random(2);
  const BlockBytes good = MakeBlock(DefectSpec());
  for (int i = 0; i < 2000; ++i) {
    BlockSpec spec = DefectSpec({AllCodecs()[random() % AllCodecs().size()], AllCodecs()[random() % AllCodecs().size()]});
    spec.layers = static_cast<uint16_t>(1 + random() % 1024);
    spec.kv_heads = static_cast<uint16_t>(1 + random() % 64);
    spec.tokens = 1 + random() % 65536;
    const absl::StatusOr<BlockLayout> layout = BlockLayout::Make(spec);
    if (!layout.ok() || layout->total_bytes() == good.size()) continue;
    // A true header of the larger block, its directory too if there is room, before too few bytes.
    BlockBytes block = good;
    BlockHeader header;
    std::memcpy(&header, block.data(), sizeof header);
    header.layers = spec.layers;
    header.kv_heads = spec.kv_heads;
    header.tokens = spec.tokens;
    header.k_codec = static_cast<uint8_t>(spec.codec.k);
    header.v_codec = static_cast<uint8_t>(spec.codec.v);
    header.rotation_kind = PairRotates(spec.codec);
    header.rotation_block = PairRotates(spec.codec) ? 64 : 0;
    header.rotation_seed = PairRotates(spec.codec) ? header.rotation_seed : 0;
    header.planes = static_cast<uint8_t>(layout->planes());
    header.total_bytes = layout->total_bytes();
    std::memcpy(block.data(), &header, sizeof header);
    testing::ResealHeader(block);
    EXPECT_TRUE(ParseBlockHeader(block).ok());
    EXPECT_FALSE(ParseEverything(block));
  }
}

TEST(HostileBlock, DirectoryEntriesOfAnyValueAreRejected) {
  const BlockBytes good = MakeBlock(DefectSpec());
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    BlockBytes block = good;
    const uint32_t entry = random() % 2;
    const uint32_t field = random() % 2 * 4;  // offset_units or length
    const uint32_t value = static_cast<uint32_t>(random()) >> random() % 32;
    uint8_t* place = block.data() + sizeof(BlockHeader) + entry * sizeof(DirectoryEntry) + field;
    if (std::memcmp(place, &value, sizeof value) == 0) continue;
    std::memcpy(place, &value, sizeof value);
    testing::ResealDirectory(block);
    EXPECT_FALSE(ParseEverything(block));
  }
}

TEST(HostileBlock, ExtensionsOfAnyBitsUnderGoodChecksumsAreSafe) {
  std::mt19937 random(5);
  for (const BlockBytes& good : {MakeBlock(LayeredDefectSpec()), MakeBlock(testing::LayeredSpec())}) {
    for (int i = 0; i < 2000; ++i) {
      BlockBytes block = good;
      for (int changes = 0; changes < 3; ++changes) {
        block[sizeof(BlockHeader) + random() % 80] = static_cast<uint8_t>(random());
      }
      testing::ResealDirectory(block);
      ParseEverything(block);
    }
  }
}

TEST(HostileBlock, LayerTablesThatClaimMoreThanTheBytesHoldAreRejected) {
  const BlockBytes good = MakeBlock(LayeredDefectSpec());
  std::mt19937 random(6);
  for (int i = 0; i < 500; ++i) {
    BlockSpec spec = DefectSpec();
    spec.layers = static_cast<uint16_t>(1 + random() % 1024);
    spec.kv_heads = static_cast<uint16_t>(1 + random() % 64);
    spec.tokens = 1 + random() % 65536;
    for (uint32_t layer = 0; layer < spec.layers; ++layer) {
      spec.layer_parts.push_back({spec.codec, false, static_cast<uint32_t>(1 + random() % (spec.kv_heads * spec.tokens))});
    }
    const absl::StatusOr<BlockLayout> layout = BlockLayout::Make(spec);
    if (!layout.ok()) continue;
    // The true prefix of the larger block, and a little of its payload.
    BlockBytes block(layout->payload_offset() + 512);
    for (uint32_t layer = 0; layer < spec.layers; ++layer) {
      const LayerPart& part = spec.layer_parts[layer];
      const LayerEntry entry = {static_cast<uint8_t>(part.codec.k), static_cast<uint8_t>(part.codec.v), 0, 0,
                                part.escapes, 0};
      std::memcpy(block.data() + sizeof(BlockHeader) + layer * sizeof entry, &entry, sizeof entry);
    }
    BlockHeader header;
    std::memcpy(&header, good.data(), sizeof header);
    header.features = kFeatureLayerTable;
    header.layers = spec.layers;
    header.kv_heads = spec.kv_heads;
    header.tokens = spec.tokens;
    header.extension_bytes = layout->extension_bytes();
    header.total_bytes = layout->total_bytes();
    std::memcpy(block.data(), &header, sizeof header);
    uint8_t* out = block.data() + layout->directory_offset();
    for (uint32_t layer = 0; layer < spec.layers; ++layer) {
      for (uint32_t plane = 0; plane < layout->planes(); ++plane, out += sizeof(DirectoryEntry)) {
        const PlaneKind kind = layout->plane_kind(plane);
        const DirectoryEntry entry = {static_cast<uint32_t>(layout->SegmentOffset(layer, kind) / 64),
                                      layout->SegmentBytes(layer, kind), 0};
        std::memcpy(out, &entry, sizeof entry);
      }
    }
    testing::ResealDirectory(block);
    EXPECT_TRUE(ParseBlockPrefix(block).ok()) << ParseBlockPrefix(block).status();
    EXPECT_FALSE(ParseEverything(block));
  }
}

TEST(HostileBlock, TilesAndRecordsOfAnyBitsUnderGoodChecksumsAreSafeToWalk) {
  std::mt19937 random(4);
  for (const BlockSpec& spec : {DefectSpec(), LayeredDefectSpec()}) {
    const BlockLayout layout = BlockLayout::Make(spec).value();
    const BlockBytes good = MakeBlock(spec);
    const uint64_t length = layout.SegmentBytes(0, PlaneKind::kBase);
    for (int i = 0; i < 2000; ++i) {
      BlockBytes block = good;
      for (int changes = 0; changes < 4; ++changes) {
        block[layout.payload_offset() + random() % length] = static_cast<uint8_t>(random());
      }
      testing::ResealSegment(block, layout.payload_offset(), length, 0);
      ParseEverything(block);
    }
  }
}

}  // namespace
}  // namespace polarkv
