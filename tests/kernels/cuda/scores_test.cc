// Whole launches of scores alone on emulated lanes.
#include "kernels/cuda/scores.h"

#include "tests/kernels/cuda/attention_fixture.h"
#include "tests/kernels/cuda/host_attention.h"

namespace polarkv::cuda {
namespace {

using Fixture = AttentionFixture<HostAttention<>>;

TEST(CudaScoresTest, EveryLengthAroundATile) {
  for (const uint32_t tokens : {0u, 1u, 2u, 63u, 64u, 65u, 127u, 128u, 129u, 257u}) {
    SCOPED_TRACE(tokens);
    Fixture({.tokens = {tokens}}, 64, tokens + 1).RunScores();
  }
}

TEST(CudaScoresTest, GroupsAndQueries) {
  for (const uint32_t group : {1u, 4u, 8u, 16u}) {
    for (const uint32_t queries : {1u, 2u, 5u}) {
      SCOPED_TRACE(group * 100 + queries);
      Fixture({.kv_heads = 2, .group = group, .queries = queries, .tokens = {70}}, 64, 7 * group + queries).RunScores();
    }
  }
}

TEST(CudaScoresTest, RaggedBatchesWithEmptySequences) {
  for (const uint32_t warps : {1u, 2u, 7u, 64u}) {
    SCOPED_TRACE(warps);
    Fixture({.tokens = {0, 65, 0, 0, 300, 1, 128, 0}, .warps = warps}, 64, warps).RunScores();
  }
}

TEST(CudaScoresTest, ManyPagesOfOneTile) {
  Fixture({.kv_heads = 1, .group = 1, .tiles_per_page = 1, .tokens = {67 * 64 + 3}, .warps = 2}, 64, 9).RunScores();
}

TEST(CudaScoresTest, EveryCodecOfKeys) {
  const std::pair<CodecId, CodeKind> kKeys[] = {
      {CodecId::kTurbo2, kTurbo2},     {CodecId::kTurbo3, kTurbo3},     {CodecId::kTurbo4, kTurbo4},
      {CodecId::kTurbo4, kTurbo3},     {CodecId::kTurbo4, kTurbo2},     {CodecId::kTrellis1, kTrellis1},
      {CodecId::kTrellis2, kTrellis2}, {CodecId::kTrellis3, kTrellis3}};
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const auto& [id, kind] : kKeys) {
      for (const uint32_t group : {1u, 16u}) {
        SCOPED_TRACE(std::string(CodecName(id)) + " " + std::to_string(dim) + " " + std::to_string(group));
        Fixture({.codec = {id, CodecId::kTurbo2}, .key_kind = kind, .value_kind = kTurbo2, .kv_heads = 1,
                 .group = group, .tokens = {131}},
                dim, dim + static_cast<uint32_t>(kind))
            .RunScores();
      }
    }
  }
}

TEST(CudaScoresTest, QueriesOf16Bits) {
  for (const ElementType type : {ElementType::kF16, ElementType::kBF16}) {
    for (const uint32_t dim : {64u, 128u, 256u}) {
      SCOPED_TRACE(std::string(type == ElementType::kF16 ? "fp16 " : "bf16 ") + std::to_string(dim));
      Fixture({.group = 8, .queries = 2, .tokens = {130, 67}, .type = type}, dim, dim).RunScores();
    }
  }
}

TEST(CudaScoresTest, HugeAndTinyTensors) {
  Fixture({.magnitude = 1e30f}, 64, 1).RunScores();
  Fixture({.magnitude = 1e-30f}, 64, 2).RunScores();
}

TEST(CudaScoresTest, RefusesShapesWithoutAKernel) {
  AttentionCodec codec;
  codec.head_dim = 128;
  AttentionBatch batch;
  batch.sequences = batch.kv_heads = batch.tiles_per_page = 1;
  EXPECT_GT(ScoresWorkspaceBytes(codec, batch), 0u);
  EXPECT_LT(ScoresWorkspaceBytes(codec, batch), AttentionWorkspaceBytes(codec, batch, 8));
  codec.head_dim = 96;
  EXPECT_EQ(ScoresWorkspaceBytes(codec, batch), 0u);
}

}  // namespace
}  // namespace polarkv::cuda
