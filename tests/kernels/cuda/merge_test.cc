// Merges of attention results on emulated lanes, against MergeAttention.
#include "kernels/cuda/merge_results.h"

#include <cfloat>

#include "tests/kernels/cuda/host_warp.h"
#include "tests/kernels/cuda/merge_fixture.h"

namespace polarkv::cuda {
namespace {

struct HostMerge {
  static void Merge(const MergeBatch& batch, MergeSide&, MergeSide&) {
    ASSERT_EQ(CheckMerge(batch), LaunchError::kNone);
    for (uint32_t warp = 0; warp < MergeWarps(batch); ++warp) MergeResults<HostWarp>(batch, warp);
  }
};
using Fixture = MergeFixture<HostMerge>;

TEST(CudaMergeTest, EveryPairOfTypesAndHeadDim) { RunMergeGrid<HostMerge>(); }

TEST(CudaMergeTest, ManyRowsAndNone) {
  RunMixedMerge<HostMerge>({7, 3, 40, 64}, 1);
  RunMixedMerge<HostMerge>({0, 3, 40, 64}, 2);
  RunMixedMerge<HostMerge>({5, 1, 1, 128}, 3);
}

TEST(CudaMergeTest, HugeAndTinyOutputs) {
  for (const float magnitude : {1e37f, 1e-37f}) {
    RunMixedMerge<HostMerge>({.into = ElementType::kF32, .more = ElementType::kBF16}, 4, magnitude);
  }
}

TEST(CudaMergeTest, LogSumExpsOfAllDistances) {
  for (const float middle : {0.0f, -50.0f, 1e6f, -1e30f}) {
    MergeShape shape{64, 1, 8, 8};
    Fixture(
        shape, [&](uint32_t row) { return std::pair(middle, middle + .25f * (static_cast<float>(row) - 256)); },
        [](uint32_t row, uint32_t i) { return std::pair(1.0f + static_cast<float>(i), static_cast<float>(row) / 100); })
        .Run();
  }
}

TEST(CudaMergeTest, LargestOutputsStayFinite) {
  const auto equal = [](uint32_t row) { return std::pair(1.0f, 1.0f + .001f * static_cast<float>(row)); };
  Fixture largest({1, 1, 32, 8}, equal, [](uint32_t, uint32_t i) {
    return i % 2 == 0 ? std::pair(FLT_MAX, FLT_MAX) : std::pair(-FLT_MAX, -FLT_MAX);
  });
  largest.Run();
  for (uint32_t h = 0; h < 32; ++h) {
    for (uint32_t i = 0; i < 8; ++i) EXPECT_TRUE(std::isfinite(largest.into().Output(0, 0, h, i)));
  }
  Fixture({1, 1, 32, 8, ElementType::kF16, ElementType::kF16}, equal,
          [](uint32_t, uint32_t) { return std::pair(65504.0f, 65504.0f); })
      .Run();
}

TEST(CudaMergeTest, NotANumberIsSeen) {
  for (const bool in_more : {false, true}) {
    for (const float other : {0.0f, kNoTokens, NAN}) {
      for (const float wrong : {NAN, INFINITY}) {
        MergeSide into({1, 1, 1, 8}, ElementType::kF32, false), more({1, 1, 1, 8}, ElementType::kF32, false);
        for (uint32_t i = 0; i < 8; ++i) {
          into.SetOutput(0, 0, 0, i, 1);
          more.SetOutput(0, 0, 0, i, 1);
        }
        into.Lse(0, 0, 0) = in_more ? other : wrong;
        more.Lse(0, 0, 0) = in_more ? wrong : other;
        HostMerge::Merge({1, 1, 1, 8, into.result, more.result}, into, more);
        EXPECT_TRUE(std::isnan(into.Lse(0, 0, 0)));
        for (uint32_t i = 0; i < 8; ++i) EXPECT_TRUE(std::isnan(into.Output(0, 0, 0, i)));
      }
    }
  }
  // Of an output alone: that coordinate.
  MergeSide into({1, 1, 1, 8}, ElementType::kF32, false), more({1, 1, 1, 8}, ElementType::kBF16, false);
  for (uint32_t i = 0; i < 8; ++i) {
    into.SetOutput(0, 0, 0, i, 2);
    more.SetOutput(0, 0, 0, i, i == 5 ? NAN : 2);
  }
  into.Lse(0, 0, 0) = more.Lse(0, 0, 0) = 3;
  HostMerge::Merge({1, 1, 1, 8, into.result, more.result}, into, more);
  EXPECT_NEAR(into.Lse(0, 0, 0), 3 + std::log(2.0f), 1e-6f);
  for (uint32_t i = 0; i < 8; ++i) EXPECT_EQ(std::isnan(into.Output(0, 0, 0, i)), i == 5);
}

TEST(CudaMergeTest, PartsOfASequenceMergeToTheWhole) {
  // Softmax over 12 logits, value = the logit's number, in three parts.
  const auto attend = [](uint32_t begin, uint32_t end, MergeSide& side) {
    double sum = 0, output = 0;
    for (uint32_t t = begin; t < end; ++t) {
      sum += std::exp(std::sin(t));
      output += std::exp(std::sin(t)) * t;
    }
    side.Lse(0, 0, 0) = static_cast<float>(std::log(sum));
    for (uint32_t i = 0; i < 8; ++i) side.SetOutput(0, 0, 0, i, static_cast<float>(output / sum));
  };
  MergeSide into({1, 1, 1, 8}, ElementType::kF32, false), more({1, 1, 1, 8}, ElementType::kF32, false),
      whole({1, 1, 1, 8}, ElementType::kF32, false);
  attend(0, 5, into);
  attend(0, 12, whole);
  for (const uint32_t begin : {5u, 8u}) {
    attend(begin, begin == 5 ? 8 : 12, more);
    HostMerge::Merge({1, 1, 1, 8, into.result, more.result}, into, more);
  }
  EXPECT_NEAR(into.Lse(0, 0, 0), whole.Lse(0, 0, 0), 1e-6);
  for (uint32_t i = 0; i < 8; ++i) EXPECT_NEAR(into.Output(0, 0, 0, i), whole.Output(0, 0, 0, i), 1e-5);
}

TEST(CudaMergeTest, RefusesWhatItCannotDo) {
  MergeSide into({1, 1, 1, 64}, ElementType::kF16, false), more({1, 1, 1, 64}, ElementType::kF32, false);
  const MergeBatch good{1, 1, 1, 64, into.result, more.result};
  ASSERT_EQ(CheckMerge(good), LaunchError::kNone);
  const auto refused = [&](const std::function<void(MergeBatch&)>& spoil) {
    MergeBatch bad = good;
    spoil(bad);
    return CheckMerge(bad);
  };
  constexpr auto kShape = LaunchError::kUnsupportedShape, kRows = LaunchError::kMisalignedRows;
  for (const uint32_t dim : {0u, 4u, 68u, 264u, 4096u}) {
    EXPECT_EQ(refused([&](MergeBatch& b) { b.head_dim = dim; }), kShape) << dim;
  }
  EXPECT_EQ(refused([](MergeBatch& b) { b.sequences = 1 << 16, b.queries = 1 << 8, b.heads = 1 << 7; }), kShape);
  EXPECT_EQ(refused([](MergeBatch& b) { b.sequences = b.queries = b.heads = UINT32_MAX; }), kShape);
  EXPECT_EQ(refused([](MergeBatch& b) { b.into.type = static_cast<ElementType>(3); }), kShape);
  EXPECT_EQ(refused([](MergeBatch& b) { b.into.o = nullptr; }), kShape);
  EXPECT_EQ(refused([](MergeBatch& b) { b.more.lse = nullptr; }), kShape);
  EXPECT_EQ(refused([](MergeBatch& b) { b.into.o = static_cast<uint8_t*>(b.into.o) + 8; }), kRows);
  EXPECT_EQ(refused([](MergeBatch& b) { b.into.o_stride[1] = 68; }), kRows);
  EXPECT_EQ(refused([](MergeBatch& b) { b.more.o_stride[2] = 66; }), kRows);
  EXPECT_EQ(refused([](MergeBatch& b) { b.more.o_stride[2] = 68; }), LaunchError::kNone);
  EXPECT_EQ(refused([](MergeBatch& b) { b.heads = 0, b.into = b.more = {}; }), LaunchError::kNone);
}

}  // namespace
}  // namespace polarkv::cuda
