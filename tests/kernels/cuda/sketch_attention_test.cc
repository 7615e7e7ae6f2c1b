// Whole launches of attention and of scores alone on keys that are signs or polar codes, on emulated lanes.
#include "tests/kernels/cuda/attention_fixture.h"
#include "tests/kernels/cuda/host_attention.h"

namespace polarkv::cuda {
namespace {

using Fixture = AttentionFixture<HostAttention<>>;

constexpr std::pair<CodecId, CodeKind> kKeys[] = {{CodecId::kPolar44, kPolar44},
                                                  {CodecId::kQjl1, kSigns1},
                                                  {CodecId::kQjl2, kSigns2},
                                                  {CodecId::kQjl4, kSigns4}};

void RunBoth(const Shape& shape, uint32_t dim, uint32_t seed) {
  Fixture(shape, dim, seed).Run();
  Fixture(shape, dim, seed).RunScores();
}

TEST(CudaSketchAttentionTest, EveryLengthAroundATile) {
  for (const auto& [id, kind] : kKeys) {
    for (const uint32_t tokens : {0u, 1u, 63u, 64u, 65u, 129u, 257u}) {
      SCOPED_TRACE(std::string(CodecName(id)) + " " + std::to_string(tokens));
      RunBoth({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .tokens = {tokens}}, 64, tokens + 1);
    }
  }
}

TEST(CudaSketchAttentionTest, HeadDimsAndCodecsOfValues) {
  const std::pair<CodecId, CodeKind> kValues[] = {
      {CodecId::kTurbo2, kTurbo2},     {CodecId::kTurbo3, kTurbo3},     {CodecId::kTurbo4, kTurbo4},
      {CodecId::kTrellis1, kTrellis1}, {CodecId::kTrellis2, kTrellis2}, {CodecId::kTrellis3, kTrellis3}};
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const auto& [k, key_kind] : kKeys) {
      for (const auto& [v, value_kind] : kValues) {
        SCOPED_TRACE(CodecPairName({k, v}) + " " + std::to_string(dim));
        RunBoth({.codec = {k, v}, .key_kind = key_kind, .value_kind = value_kind, .kv_heads = 1, .tokens = {70}}, dim,
                dim + static_cast<uint32_t>(key_kind + value_kind));
      }
    }
  }
}

TEST(CudaSketchAttentionTest, GroupsAndQueries) {
  for (const auto& [id, kind] : kKeys) {
    for (const uint32_t group : {1u, 4u, 8u, 16u}) {
      for (const uint32_t queries : {1u, 3u}) {
        SCOPED_TRACE(std::string(CodecName(id)) + " " + std::to_string(group * 100 + queries));
        RunBoth({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .group = group, .queries = queries, .tokens = {67}},
                64, 7 * group + queries);
      }
    }
  }
}

TEST(CudaSketchAttentionTest, QueriesAndOutputOf16Bits) {
  for (const auto& [id, kind] : kKeys) {
    for (const ElementType type : {ElementType::kF16, ElementType::kBF16}) {
      SCOPED_TRACE(std::string(CodecName(id)) + (type == ElementType::kF16 ? " fp16" : " bf16"));
      RunBoth({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .queries = 3, .tokens = {67, 130}, .type = type}, 64, 5);
    }
  }
}

TEST(CudaSketchAttentionTest, RaggedBatchesWithEmptySequences) {
  for (const auto& [id, kind] : kKeys) {
    SCOPED_TRACE(CodecName(id));
    RunBoth({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .tokens = {0, 65, 0, 300, 1, 128, 0}, .warps = 5}, 64, 3);
  }
}

TEST(CudaSketchAttentionTest, EqualLogits) {
  for (const auto& [id, kind] : kKeys) {
    SCOPED_TRACE(CodecName(id));
    RunBoth({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .tokens = {129}, .equal_keys = true}, 64, 4);
  }
}

TEST(CudaSketchAttentionTest, HugeAndTinyTensors) {
  for (const auto& [id, kind] : kKeys) {
    for (const float magnitude : {1e30f, 1e-30f}) {
      SCOPED_TRACE(std::string(CodecName(id)) + (magnitude > 1 ? " huge" : " tiny"));
      RunBoth({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .magnitude = magnitude}, 64, 1);
    }
  }
}

TEST(CudaSketchAttentionTest, PolarPairsAsRopeTurnsThem) {
  const CodecPair codec{CodecId::kPolar44, CodecId::kTurbo4};
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (const uint16_t dims : {uint16_t{128}, uint16_t{64}, uint16_t{2}}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(pairing)) + " " + std::to_string(dims));
      RunBoth({.codec = codec, .key_kind = kPolar44, .rope = {pairing, 10000.0f, dims}}, 128, dims);
    }
  }
}

}  // namespace
}  // namespace polarkv::cuda
