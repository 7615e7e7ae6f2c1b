// Whole launches on blocks with key means, on emulated lanes.
#include <string>
#include <tuple>

#include "tests/kernels/cuda/attention_fixture.h"
#include "tests/kernels/cuda/host_attention.h"

namespace polarkv::cuda {
namespace {

using Fixture = AttentionFixture<HostAttention<>>;

constexpr Rope kHalf64{RopePairing::kHalf, 10000.0f, 64};
constexpr Rope kInterleaved64{RopePairing::kInterleaved, 10000.0f, 64};

TEST(CudaKeyMeanAttentionTest, BiasesInBlocksAndInAProfile) {
  for (const MeansIn in : {MeansIn::kBlocks, MeansIn::kProfile}) {
    for (const double norm : {20.0, 120.0, 600.0}) {
      for (const bool all_pairs : {true, false}) {
        SCOPED_TRACE(norm * 10 + (all_pairs ? 1 : 0));
        Fixture({.tokens = {130, 70}, .means = {.in = in, .norm = norm, .all_pairs = all_pairs}}, 64, 1).Run();
      }
    }
  }
}

TEST(CudaKeyMeanAttentionTest, MeansOfNoBias) {
  Fixture({.means = {.in = MeansIn::kBlocks, .first_position = 64}}, 64, 2).Run();
}

// One token: the log-sum-exp is its logit.
TEST(CudaKeyMeanAttentionTest, LogitsAtFarPositions) {
  for (const uint64_t position :
       {uint64_t{4}, uint64_t{131071}, uint64_t{1} << 31, (uint64_t{1} << 40) + 12345, (uint64_t{1} << 53) - 1000}) {
    for (const Rope& rope : {kHalf64, kInterleaved64}) {
      SCOPED_TRACE(position);
      Fixture({.kv_heads = 1,
               .group = 8,
               .tokens = {1},
               .means = {.in = MeansIn::kProfile, .norm = 600, .rope = rope, .first_position = position}},
              64, 3)
          .Run();
    }
  }
}

// Every block of a sequence has a mean of its own, or none: what is added changes where pages do, in the middle of a
// warp's share of the line and at its borders.
TEST(CudaKeyMeanAttentionTest, MeansThatChangeFromPageToPage) {
  for (const MeansIn in : {MeansIn::kBlocks, MeansIn::kEverySecondBlock}) {
    for (const uint32_t tiles : {1u, 3u}) {
      SCOPED_TRACE(tiles);
      Fixture({.group = 2,
               .tiles_per_page = tiles,
               .tokens = {0, 400, 129, 1},
               .warps = 5,
               .means = {.in = in, .norm = 120}},
              64, tiles)
          .Run();
    }
  }
}

// Keys and values that are stored raw, tokens whose keys keep the mean, short tiles; the sequence's first tokens are
// raw.
TEST(CudaKeyMeanAttentionTest, TokensWithoutTheMeanAndRawOnes) {
  for (const MeansIn in : {MeansIn::kBlocks, MeansIn::kProfile}) {
    for (const Rope& rope : {kHalf64, kInterleaved64}) {
      Fixture({.tokens = {190, 65},
               .means = {.in = in, .norm = 120, .rope = rope, .first_position = 0, .on_every_token = false}},
              64, 5)
          .Run();
      Fixture({.tokens = {190, 65},
               .means = {.in = in, .norm = 120, .rope = rope, .first_position = 1000, .on_every_token = false}},
              64, 6)
          .Run();
    }
  }
}

TEST(CudaKeyMeanAttentionTest, GroupsAndQueries) {
  for (const uint32_t group : {1u, 4u, 8u, 16u}) {
    for (const uint32_t queries : {1u, 3u}) {
      SCOPED_TRACE(group * 10 + queries);
      Fixture({.group = group, .queries = queries, .tokens = {100}, .means = {.in = MeansIn::kBlocks, .norm = 120}}, 64,
              group)
          .Run();
    }
  }
}

TEST(CudaKeyMeanAttentionTest, HeadDimsPairingsAndPartialRope) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const uint32_t dims : {dim, dim / 2, dim / 4 + 6, 2u, 0u}) {
      for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
        if (dims == 0 && pairing == RopePairing::kInterleaved) continue;
        SCOPED_TRACE(dim * 1000 + dims);
        const Rope rope = dims == 0 ? Rope{} : Rope{pairing, 500000.0f, static_cast<uint16_t>(dims)};
        Fixture({.kv_heads = 1,
                 .group = 9,
                 .tokens = {131},
                 .means = {.in = MeansIn::kProfile,
                           .norm = 120,
                           .rope = rope,
                           .first_position = 131072 - 70,
                           .on_every_token = false}},
                dim, dims)
            .Run();
      }
    }
  }
}

TEST(CudaKeyMeanAttentionTest, HugeAndTinyTensors) {
  for (const float magnitude : {1e28f, 1e-28f}) {
    for (const MeansIn in : {MeansIn::kBlocks, MeansIn::kProfile}) {
      Fixture({.magnitude = magnitude, .means = {.in = in, .norm = 20, .on_every_token = false}}, 64, 1).Run();
    }
  }
}

// Whatever the keys' codes are: means stand beside them.
TEST(CudaKeyMeanAttentionTest, EveryCodecWithScales) {
  const std::tuple<CodecId, CodeKind, CodecId, CodeKind> kPairs[] = {
      {CodecId::kTrellis3, kTrellis3, CodecId::kTrellis2, kTrellis2},
      {CodecId::kTrellis2, kTrellis2, CodecId::kTrellis1, kTrellis1},
      {CodecId::kTurbo4, kTurbo3, CodecId::kTrellis3, kTrellis3},
      {CodecId::kTrellis1, kTrellis1, CodecId::kTurbo4, kTurbo2},
      {CodecId::kQjl1, kSigns1, CodecId::kTurbo2, kTurbo2},
      {CodecId::kQjl4, kSigns4, CodecId::kTrellis2, kTrellis2}};
  for (const auto& [key, key_kind, value, value_kind] : kPairs) {
    for (const uint32_t group : {3u, 16u}) {
      SCOPED_TRACE(std::string(CodecName(key)) + " " + std::string(CodecName(value)) + " " + std::to_string(group));
      Fixture({.codec = {key, value}, .key_kind = key_kind, .value_kind = value_kind, .group = group, .tokens = {135},
               .means = {.in = MeansIn::kBlocks, .norm = 120, .on_every_token = false}}, 64, group).Run();
    }
  }
}

// Tokens whose value is raw are scored with their mean; those whose key is raw have none.
TEST(CudaKeyMeanAttentionTest, ScoresAlone) {
  for (const MeansIn in : {MeansIn::kBlocks, MeansIn::kEverySecondBlock, MeansIn::kProfile}) {
    for (const uint32_t group : {1u, 12u}) {
      for (const uint64_t position : {uint64_t{0}, uint64_t{5000}}) {
        SCOPED_TRACE(position + group);
        Fixture({.group = group, .tiles_per_page = 1, .tokens = {190, 0, 65},
                 .means = {.in = in, .norm = 120, .first_position = position, .on_every_token = false}}, 64, group)
            .RunScores();
      }
    }
  }
  for (const uint32_t dim : {128u, 256u}) {
    const Rope rope = {RopePairing::kInterleaved, 10000.0f, static_cast<uint16_t>(dim)};
    Fixture({.codec = {CodecId::kTrellis3, CodecId::kTurbo2}, .key_kind = kTrellis3, .value_kind = kTurbo2, .group = 9,
             .means = {.in = MeansIn::kBlocks, .norm = 600, .rope = rope}}, dim, dim).RunScores();
  }
}

TEST(CudaKeyMeanAttentionTest, MeansThatAreTurnedOtherwiseDoNotShareALaunch) {
  AttentionCodec launch, block;
  EXPECT_TRUE(JoinKeyMeans(block, launch));
  EXPECT_FALSE(launch.means.any);
  block.means = {true, false, 4, {123, 45}};
  EXPECT_TRUE(JoinKeyMeans(block, launch));
  EXPECT_EQ(launch.means, block.means);
  EXPECT_TRUE(JoinKeyMeans(AttentionCodec{}, launch));
  EXPECT_EQ(launch.means, block.means);
  block.means.phases[1] = 46;
  EXPECT_FALSE(JoinKeyMeans(block, launch));
}

}  // namespace
}  // namespace polarkv::cuda
