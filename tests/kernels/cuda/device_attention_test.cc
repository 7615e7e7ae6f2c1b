// The grid of attention_test.cc on a device, and what only a device can hold.
#include <memory>

#include "tests/kernels/cuda/attention_fixture.h"
#include "tests/kernels/cuda/device_memory.h"

namespace polarkv::cuda {
namespace {

struct DeviceBackend {
  static void Attend(const AttentionCase& c) {
    std::vector<std::unique_ptr<DeviceMemory>> blocks;
    for (const auto& block : c.blocks) blocks.push_back(std::make_unique<DeviceMemory>(block));
    const DeviceMemory profile(c.profile);
    const auto on_device = [&](const uint8_t* host) -> const uint8_t* {
      if (host != nullptr && host >= c.profile.data() && host < c.profile.data() + c.profile.size()) {
        return profile.As<uint8_t>() + (host - c.profile.data());
      }
      for (size_t i = 0; host != nullptr && i < blocks.size(); ++i) {
        const uint8_t* const first = c.blocks[i].data();
        if (host >= first && host <= first + c.blocks[i].size()) return blocks[i]->As<uint8_t>() + (host - first);
      }
      return nullptr;
    };
    std::vector<PageLayer> layers = c.page_layers;
    for (PageLayer& layer : layers) {
      layer.base = on_device(layer.base);
      layer.escapes = on_device(layer.escapes);
      layer.means = on_device(layer.means);
      for (auto& side : layer.refine) {
        for (auto& plane : side) plane = on_device(plane);
      }
    }
    const DeviceMemory pages(layers), table(c.page_table), q(c.q), o(c.q.size() * sizeof(float)),
        lse(c.q.size() / c.codec.head_dim * sizeof(float)),
        tokens(std::vector<uint32_t>(c.batch.tokens, c.batch.tokens + c.batch.sequences));
    AttentionBatch batch = c.batch;
    batch.pages = pages.As<PageLayer>() + (c.batch.pages - c.page_layers.data());
    batch.page_table = table.As<int32_t>();
    batch.tokens = tokens.As<uint32_t>();
    batch.q = q.As<void>();
    batch.o = o.As<void>();
    batch.lse = lse.As<float>();
    const uint32_t warps = AttentionWarps(c.codec.head_dim);
    const size_t bytes = AttentionWorkspaceBytes(c.codec, batch, warps);
    const DeviceMemory workspace(bytes);
    const LaunchError error = LaunchAttention(c.codec, batch, warps, workspace.As<void>(), bytes, nullptr);
    ASSERT_EQ(error, LaunchError::kNone) << LaunchErrorText(error);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << cudaGetErrorString(cudaGetLastError());
    ASSERT_EQ(cudaMemcpy(c.batch.o, o.As<void>(), c.q.size() * sizeof(float), cudaMemcpyDeviceToHost), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(c.batch.lse, lse.As<void>(), c.q.size() / c.codec.head_dim * sizeof(float),
                         cudaMemcpyDeviceToHost),
              cudaSuccess);
  }
};
using Fixture = AttentionFixture<DeviceBackend>;

class CudaDeviceAttentionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasDevice()) GTEST_SKIP() << "no CUDA device here";
  }
};

TEST_F(CudaDeviceAttentionTest, Lengths) {
  for (const uint32_t tokens : {0u, 1u, 63u, 64u, 65u, 127u, 1009u, 4099u}) {
    for (const uint32_t dim : {64u, 128u, 256u}) {
      SCOPED_TRACE(tokens * 1000 + dim);
      Fixture({.tiles_per_page = 4, .tokens = {tokens}}, dim, tokens + dim).Run();
    }
  }
}

TEST_F(CudaDeviceAttentionTest, GroupsAndQueries) {
  for (const uint32_t group : {1u, 4u, 8u, 16u}) {
    for (const uint32_t queries : {1u, 2u, 5u, 16u}) {
      SCOPED_TRACE(group * 100 + queries);
      Fixture({.kv_heads = 2, .group = group, .queries = queries, .tokens = {70, 1000}}, 128, group + queries).Run();
    }
  }
}

TEST_F(CudaDeviceAttentionTest, RaggedBatchesWithEmptySequences) {
  Fixture({.tiles_per_page = 4, .tokens = {0, 65, 0, 0, 3000, 1, 128, 0, 777, 64}}, 128, 1).Run();
}

TEST_F(CudaDeviceAttentionTest, LongSequence) {
  Fixture({.kv_heads = 1, .group = 8, .tiles_per_page = 64, .tokens = {131072}}, 128, 2).Run();
}

TEST_F(CudaDeviceAttentionTest, CodecsAndPartialPlanes) {
  const auto t2 = CodecId::kTurbo2, t3 = CodecId::kTurbo3, t4 = CodecId::kTurbo4;
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const CodeKind keys : {kTurbo2, kTurbo3, kTurbo4}) {
      for (const CodeKind values : {kTurbo2, kTurbo3, kTurbo4}) {
        SCOPED_TRACE(dim * 100 + static_cast<uint32_t>(10 * keys + values));
        Fixture({.codec = {t4, t4}, .key_kind = keys, .value_kind = values}, dim, dim).Run();
      }
    }
    Fixture({.codec = {t3, t3}, .key_kind = kTurbo3, .value_kind = kTurbo3}, dim, 4).Run();
    Fixture({.codec = {t2, t3}, .key_kind = kTurbo2, .value_kind = kTurbo3}, dim, 5).Run();
  }
}

TEST_F(CudaDeviceAttentionTest, TrellisCodes) {
  const auto t2 = CodecId::kTrellis2, t3 = CodecId::kTrellis3;
  for (const uint32_t dim : {64u, 128u, 256u}) {
    SCOPED_TRACE(dim);
    Fixture({.codec = {t3, t3}, .key_kind = kTrellis3, .value_kind = kTrellis3}, dim, 1).Run();
    Fixture({.codec = {t3, t2}, .key_kind = kTrellis3, .value_kind = kTrellis2}, dim, 2).Run();
    Fixture({.codec = {t2, t3}, .key_kind = kTrellis2, .value_kind = kTrellis3}, dim, 3).Run();
    Fixture({.codec = {t2, t2}, .key_kind = kTrellis2, .value_kind = kTrellis2}, dim, 4).Run();
  }
}

TEST_F(CudaDeviceAttentionTest, HugeAndTinyTensors) {
  Fixture({.magnitude = 1e30f}, 128, 1).Run();
  Fixture({.magnitude = 1e-30f}, 128, 2).Run();
}

TEST_F(CudaDeviceAttentionTest, KeyMeans) {
  const CodecPair trellis{CodecId::kTrellis3, CodecId::kTrellis3};
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const MeansIn in : {MeansIn::kBlocks, MeansIn::kEverySecondBlock, MeansIn::kProfile}) {
      for (const double norm : {20.0, 120.0, 600.0}) {
        for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
          SCOPED_TRACE(dim * 1000 + norm);
          const bool half = pairing == RopePairing::kHalf;
          const KeyMeanShape means{in, norm, half, {pairing, 500000.0f, static_cast<uint16_t>(half ? dim : dim / 2)}, 0, half};
          Fixture({.tokens = {300, 0, 131, 64}, .means = means}, dim, dim).Run();
          Fixture({.codec = trellis, .key_kind = kTrellis3, .value_kind = kTrellis3, .means = means}, dim, dim).Run();
        }
      }
    }
  }
}

TEST_F(CudaDeviceAttentionTest, KeyMeansOfManyRowsAtFarPositions) {
  for (const uint64_t position : {uint64_t{131072}, uint64_t{1} << 40}) {
    for (const uint32_t group : {1u, 4u, 8u, 16u}) {
      SCOPED_TRACE(group);
      const KeyMeanShape means{MeansIn::kBlocks, 120, true, {RopePairing::kHalf, 10000.0f, 128}, position, false};
      Fixture({.kv_heads = 1, .group = group, .queries = 3, .tokens = {1000}, .means = means}, 128, group).Run();
    }
  }
}

TEST(CudaDeviceTest, LaunchWithoutAWorkspaceIsRefused) {
  AttentionCodec codec;
  codec.head_dim = 128;
  AttentionBatch batch;
  batch.sequences = batch.kv_heads = batch.tiles_per_page = 1;
  EXPECT_EQ(LaunchAttention(codec, batch, 8, nullptr, 0, nullptr), LaunchError::kWorkspaceTooSmall);
  EXPECT_EQ(LaunchAttention(codec, batch, 0, nullptr, 0, nullptr), LaunchError::kNoDevice);
  codec.head_dim = 72;
  EXPECT_EQ(LaunchAttention(codec, batch, 8, nullptr, 0, nullptr), LaunchError::kUnsupportedShape);
}

}  // namespace
}  // namespace polarkv::cuda
