// Whole launches on emulated lanes.
#include "tests/kernels/cuda/attention_fixture.h"
#include "tests/kernels/cuda/host_attention.h"

namespace polarkv::cuda {
namespace {

struct HostBackend {
  static void Attend(const AttentionCase& c) {
    if (c.codec.head_dim == 64) return AttendDim<64>(c);
    if (c.codec.head_dim == 128) return AttendDim<128>(c);
    AttendDim<256>(c);
  }
  template <int kDim>
  static void AttendDim(const AttentionCase& c) {
    const std::pair kinds(c.codec.key_kind, c.codec.value_kind);
    if (kinds == std::pair(kTurbo4, kTurbo4)) return AttendOnHost<kDim, kTurbo4, kTurbo4>(c.codec, c.batch, c.warps);
    if (kinds == std::pair(kTurbo4, kTurbo2)) return AttendOnHost<kDim, kTurbo4, kTurbo2>(c.codec, c.batch, c.warps);
    if (kinds == std::pair(kTurbo3, kTurbo3)) return AttendOnHost<kDim, kTurbo3, kTurbo3>(c.codec, c.batch, c.warps);
    if (kinds == std::pair(kTurbo2, kTurbo3)) return AttendOnHost<kDim, kTurbo2, kTurbo3>(c.codec, c.batch, c.warps);
    if (kinds == std::pair(kTurbo2, kTurbo2)) return AttendOnHost<kDim, kTurbo2, kTurbo2>(c.codec, c.batch, c.warps);
    if (kinds == std::pair(kTrellis3, kTrellis3)) {
      return AttendOnHost<kDim, kTrellis3, kTrellis3>(c.codec, c.batch, c.warps);
    }
    if (kinds == std::pair(kTrellis3, kTrellis2)) {
      return AttendOnHost<kDim, kTrellis3, kTrellis2>(c.codec, c.batch, c.warps);
    }
    if (kinds == std::pair(kTrellis2, kTrellis2)) {
      return AttendOnHost<kDim, kTrellis2, kTrellis2>(c.codec, c.batch, c.warps);
    }
    FAIL() << "no such case: " << kinds.first << ", " << kinds.second;
  }
};
using Fixture = AttentionFixture<HostBackend>;

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

TEST(CudaAttentionTest, CodecsAndPartialPlanes) {
  const auto t2 = CodecId::kTurbo2, t3 = CodecId::kTurbo3, t4 = CodecId::kTurbo4;
  Fixture({.codec = {t4, t4}, .key_kind = kTurbo2, .value_kind = kTurbo2}, 128, 1).Run();
  Fixture({.codec = {t4, t4}, .key_kind = kTurbo3, .value_kind = kTurbo3}, 128, 2).Run();
  Fixture({.codec = {t4, t4}, .key_kind = kTurbo4, .value_kind = kTurbo2}, 128, 3).Run();
  Fixture({.codec = {t3, t3}, .key_kind = kTurbo3, .value_kind = kTurbo3}, 128, 4).Run();
  Fixture({.codec = {t2, t3}, .key_kind = kTurbo2, .value_kind = kTurbo3}, 128, 5).Run();
  Fixture({.codec = {t4, t2}, .key_kind = kTurbo4, .value_kind = kTurbo2}, 128, 6).Run();
}

TEST(CudaAttentionTest, TrellisCodes) {
  const auto t2 = CodecId::kTrellis2, t3 = CodecId::kTrellis3;
  for (const uint32_t dim : {64u, 128u, 256u}) {
    SCOPED_TRACE(dim);
    Fixture({.codec = {t3, t3}, .key_kind = kTrellis3, .value_kind = kTrellis3}, dim, 1).Run();
    Fixture({.codec = {t3, t2}, .key_kind = kTrellis3, .value_kind = kTrellis2}, dim, 2).Run();
    Fixture({.codec = {t2, t2}, .key_kind = kTrellis2, .value_kind = kTrellis2}, dim, 3).Run();
  }
}

TEST(CudaAttentionTest, HugeAndTinyTensors) {
  Fixture({.magnitude = 1e30f}, 64, 1).Run();
  Fixture({.magnitude = 1e-30f}, 64, 2).Run();
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
  codec.key_kind = kTrellis3;  // with turbo values
  EXPECT_EQ(AttentionWorkspaceBytes(codec, batch, 8), 0u);
}

}  // namespace
}  // namespace polarkv::cuda
