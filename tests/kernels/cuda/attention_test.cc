// Whole launches on emulated lanes.
#include "tests/kernels/cuda/attention_fixture.h"
#include "tests/kernels/cuda/host_attention.h"

namespace polarkv::cuda {
namespace {

using Fixture = AttentionFixture<HostAttention<>>;

TEST(CudaAttentionTest, EveryLengthAroundATile) {
  for (const uint32_t tokens : {0u, 1u, 63u, 64u, 65u, 127u, 128u, 129u, 257u}) {
    SCOPED_TRACE(tokens);
    Fixture({.tokens = {tokens}}, 64, tokens + 1).Run();
  }
}

TEST(CudaAttentionTest, GroupsAndQueries) {
  for (const uint32_t group : {1u, 4u, 8u, 16u}) {
    for (const uint32_t queries : {1u, 2u, 5u}) {
      SCOPED_TRACE(group * 100 + queries);
      Fixture({.kv_heads = 2, .group = group, .queries = queries, .tokens = {70}}, 64, 7 * group + queries).Run();
    }
  }
}

TEST(CudaAttentionTest, SixteenQueriesOfAGroupOfSixteen) {
  Fixture({.kv_heads = 1, .group = 16, .queries = 16, .tokens = {130}, .warps = 8}, 64, 3).Run();
}

TEST(CudaAttentionTest, RaggedBatchesWithEmptySequences) {
  for (const uint32_t warps : {1u, 2u, 7u, 64u}) {
    SCOPED_TRACE(warps);
    Fixture({.tokens = {0, 65, 0, 0, 300, 1, 128, 0}, .warps = warps}, 64, warps).Run();
  }
}

TEST(CudaAttentionTest, HeadDims) {
  for (const uint32_t dim : {64u, 128u, 256u}) Fixture({.tokens = {130, 67}}, dim, dim).Run();
}

constexpr std::pair<CodecId, CodeKind> kSides[] = {
    {CodecId::kTurbo2, kTurbo2},     {CodecId::kTurbo3, kTurbo3},     {CodecId::kTurbo4, kTurbo4},
    {CodecId::kTrellis1, kTrellis1}, {CodecId::kTrellis2, kTrellis2}, {CodecId::kTrellis3, kTrellis3}};

TEST(CudaAttentionTest, EveryPairOfCodecs) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const auto& [k, key_kind] : kSides) {
      for (const auto& [v, value_kind] : kSides) {
        SCOPED_TRACE(CodecPairName({k, v}) + " " + std::to_string(dim));
        Fixture({.codec = {k, v}, .key_kind = key_kind, .value_kind = value_kind, .kv_heads = 1, .tokens = {67}}, dim,
                dim + static_cast<uint32_t>(7 * key_kind + value_kind))
            .Run();
      }
    }
  }
}

TEST(CudaAttentionTest, EveryCodecWithSixteenRows) {
  for (const auto& [id, kind] : kSides) {
    SCOPED_TRACE(CodecPairName({id, id}));
    Fixture({.codec = {id, id}, .key_kind = kind, .value_kind = kind, .kv_heads = 1, .group = 16}, 128, 5).Run();
  }
}

TEST(CudaAttentionTest, PartialPlanes) {
  const auto t4 = CodecId::kTurbo4, t3 = CodecId::kTurbo3, r1 = CodecId::kTrellis1;
  for (const CodeKind keys : {kTurbo2, kTurbo3, kTurbo4}) {
    for (const CodeKind values : {kTurbo2, kTurbo3, kTurbo4}) {
      SCOPED_TRACE(10 * keys + values);
      Fixture({.codec = {t4, t4}, .key_kind = keys, .value_kind = values}, 128, 1).Run();
    }
  }
  Fixture({.codec = {t3, r1}, .key_kind = kTurbo2, .value_kind = kTrellis1}, 64, 2).Run();
  Fixture({.codec = {r1, t4}, .key_kind = kTrellis1, .value_kind = kTurbo3}, 64, 3).Run();
}

TEST(CudaAttentionTest, EqualLogits) {
  for (const auto& [id, kind] : kSides) {
    SCOPED_TRACE(CodecName(id));
    Fixture({.codec = {id, id}, .key_kind = kind, .value_kind = kind, .tokens = {129}, .equal_keys = true}, 64, 4).Run();
  }
}

TEST(CudaAttentionTest, QueriesAndOutputOf16Bits) {
  for (const ElementType type : {ElementType::kF16, ElementType::kBF16}) {
    for (const uint32_t dim : {64u, 128u, 256u}) {
      SCOPED_TRACE(std::string(type == ElementType::kF16 ? "fp16 " : "bf16 ") + std::to_string(dim));
      Fixture({.queries = 2, .tokens = {130, 0, 67}, .type = type}, dim, dim).Run();
    }
    Fixture({.group = 16, .queries = 3, .tokens = {70}, .type = type}, 64, 1).Run();
    const KeyMeanShape means{MeansIn::kBlocks, 20, true, {RopePairing::kHalf, 10000.0f, 64}, 0, false};
    Fixture({.tokens = {131}, .means = means, .type = type}, 64, 2).Run();
  }
}

TEST(CudaAttentionTest, HugeAndTinyTensors) {
  Fixture({.magnitude = 1e30f}, 64, 1).Run();
  Fixture({.magnitude = 1e-30f}, 64, 2).Run();
}

TEST(CudaAttentionTest, ThePlanCountsTheTilesOfAllSequencesBefore) {
  std::mt19937 random(6);
  for (const uint32_t sequences : {1u, 2u, 31u, 32u, 33u, 64u, 65u, 200u}) {
    SCOPED_TRACE(sequences);
    std::vector<uint32_t> tokens(sequences), expected = {0}, prefix(sequences + 2, 77);
    for (uint32_t& count : tokens) count = static_cast<uint32_t>(random() % 4 * (random() % 300));
    tokens[sequences / 2] = 0xFFFFFFFFu;  // the longest there is
    for (const uint32_t count : tokens) expected.push_back(expected.back() + static_cast<uint32_t>((uint64_t{count} + 63) / 64));
    AttentionArgs args{};
    args.batch.sequences = sequences;
    args.batch.tokens = tokens.data();
    args.tile_prefix = prefix.data();
    PlanTiles<HostWarp>(args);
    expected.push_back(77);
    EXPECT_EQ(prefix, expected);
  }
}

TEST(CudaAttentionTest, ASequenceForEveryLaneAndMore) {
  std::vector<uint32_t> tokens(67);
  for (uint32_t s = 0; s < tokens.size(); ++s) tokens[s] = s % 5 == 2 ? 65 + s : s % 3;
  Fixture({.kv_heads = 1, .group = 1, .tokens = tokens, .warps = 5}, 64, 8).Run();
}

TEST(CudaAttentionTest, EveryUnitHasOneWarp) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    AttentionArgs args{};
    uint32_t prefix[6] = {};
    args.batch.sequences = 5;
    args.batch.kv_heads = 1 + static_cast<uint32_t>(random() % 3);
    args.passes = 1 + static_cast<uint32_t>(random() % 2);
    args.warps = 1 + static_cast<uint32_t>(random() % 40);
    for (int i = 0; i < 5; ++i) prefix[i + 1] = prefix[i] + static_cast<uint32_t>(random() % 3 * (random() % 7));
    args.tile_prefix = prefix;
    const uint64_t units = UnitCount(args);
    uint64_t slots = 0;
    for (uint32_t warp = 0; warp < BusyWarps(args, units); ++warp) {
      const uint64_t end = FirstUnitOfWarp(args, units, warp + 1);
      uint64_t unit = FirstUnitOfWarp(args, units, warp);
      ASSERT_LT(unit, end) << "a share that Merge would read and nobody writes";
      UnitCursor cursor = UnitCursor::At(args, unit);
      for (;; cursor.Advance(args)) {
        const UnitCursor direct = UnitCursor::At(args, unit);
        ASSERT_EQ(cursor.Line(args), direct.Line(args));
        ASSERT_EQ(cursor.tile, direct.tile);
        ASSERT_EQ(WarpOfUnit(args, units, unit), warp);
        slots = std::max(slots, PartialSlot(warp, cursor.Line(args)) + 1);
        if (++unit == end) break;
      }
    }
    ASSERT_LE(slots, PartialSlots(args.warps, LinesPerSequence(args) * 5));
  }
}

TEST(CudaAttentionTest, RefusesShapesWithoutAKernel) {
  AttentionCodec codec;
  codec.head_dim = 128;
  AttentionBatch batch;
  batch.sequences = batch.kv_heads = batch.tiles_per_page = 1;
  EXPECT_GT(AttentionWorkspaceBytes(codec, batch, 8), 0u);
  batch.queries = 17;
  EXPECT_EQ(AttentionWorkspaceBytes(codec, batch, 8), 0u);
  batch.queries = 1;
  codec.head_dim = 80;
  EXPECT_EQ(AttentionWorkspaceBytes(codec, batch, 8), 0u);
  codec.head_dim = 128;
  codec.value_kind = kAnyCodes;
  EXPECT_EQ(AttentionWorkspaceBytes(codec, batch, 8), 0u);
}

}  // namespace
}  // namespace polarkv::cuda
