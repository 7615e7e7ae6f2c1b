// The grid of attention_test.cc on a device, and what only a device can hold.
#include <memory>

#include "tests/kernels/cuda/attention_fixture.h"
#include "tests/kernels/cuda/device_memory.h"

namespace polarkv::cuda {
namespace {

size_t RowCount(const AttentionCase& c) { return c.q.size() / ElementBytes(c.batch.type) / c.codec.head_dim; }

// The case's blocks and tables, copied to the device.
class DeviceCase {
 public:
  explicit DeviceCase(const AttentionCase& c)
      : profile_(c.profile),
        table_(c.page_table),
        q_(c.q),
        o_(c.q.size()),
        lse_(RowCount(c) * sizeof(float)),
        tokens_(std::vector<uint32_t>(c.batch.tokens, c.batch.tokens + c.batch.sequences)) {
    for (const auto& block : c.blocks) blocks_.push_back(std::make_unique<DeviceMemory>(block));
    const auto on_device = [&](const uint8_t* host) -> const uint8_t* {
      if (host != nullptr && host >= c.profile.data() && host < c.profile.data() + c.profile.size()) {
        return profile_.As<uint8_t>() + (host - c.profile.data());
      }
      for (size_t i = 0; host != nullptr && i < blocks_.size(); ++i) {
        const uint8_t* const first = c.blocks[i].data();
        if (host >= first && host <= first + c.blocks[i].size()) return blocks_[i]->As<uint8_t>() + (host - first);
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
    pages_ = std::make_unique<DeviceMemory>(layers);
    batch = c.batch;
    batch.pages = pages_->As<PageLayer>() + (c.batch.pages - c.page_layers.data());
    batch.page_table = table_.As<int32_t>();
    batch.tokens = tokens_.As<uint32_t>();
    batch.q = q_.As<void>();
    batch.o = o_.As<void>();
    batch.lse = lse_.As<float>();
  }
  AttentionBatch batch;

 private:
  std::vector<std::unique_ptr<DeviceMemory>> blocks_;
  std::unique_ptr<DeviceMemory> pages_;
  const DeviceMemory profile_, table_, q_, o_, lse_, tokens_;
};

void CopyBack(void* to, const void* from, size_t bytes) {
  ASSERT_EQ(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
}

struct DeviceBackend {
  static void Attend(const AttentionCase& c) {
    const DeviceCase device(c);
    const uint32_t warps = AttentionWarps(c.codec.head_dim);
    const size_t bytes = AttentionWorkspaceBytes(c.codec, device.batch, warps);
    const DeviceMemory workspace(bytes);
    const LaunchError error = LaunchAttention(c.codec, device.batch, warps, workspace.As<void>(), bytes, nullptr);
    ASSERT_EQ(error, LaunchError::kNone) << LaunchErrorText(error);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << cudaGetErrorString(cudaGetLastError());
    ASSERT_NO_FATAL_FAILURE(CopyBack(c.batch.o, device.batch.o, c.q.size()));
    CopyBack(c.batch.lse, device.batch.lse, RowCount(c) * sizeof(float));
  }
  static void Score(const AttentionCase& c) {
    const DeviceCase device(c);
    const DeviceMemory scores(*c.scores);
    ScoresTarget target = c.target;
    target.scores = scores.As<float>();
    const uint32_t warps = ScoresWarps(c.codec.head_dim);
    const size_t bytes = ScoresWorkspaceBytes(c.codec, device.batch);
    const DeviceMemory workspace(bytes);
    const LaunchError error = LaunchScores(c.codec, device.batch, target, warps, workspace.As<void>(), bytes, nullptr);
    ASSERT_EQ(error, LaunchError::kNone) << LaunchErrorText(error);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << cudaGetErrorString(cudaGetLastError());
    CopyBack(c.scores->data(), target.scores, c.scores->size() * sizeof(float));
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

constexpr std::pair<CodecId, CodeKind> kSides[] = {
    {CodecId::kTurbo2, kTurbo2},     {CodecId::kTurbo3, kTurbo3},     {CodecId::kTurbo4, kTurbo4},
    {CodecId::kTrellis1, kTrellis1}, {CodecId::kTrellis2, kTrellis2}, {CodecId::kTrellis3, kTrellis3},
    {CodecId::kQjl1, kSigns1},       {CodecId::kQjl2, kSigns2},       {CodecId::kQjl4, kSigns4},
    {CodecId::kPolar44, kPolar44}};

TEST_F(CudaDeviceAttentionTest, EveryPairOfCodecs) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const auto& [k, key_kind] : kSides) {
      for (const auto& [v, value_kind] : kSides) {
        if (IsSignKind(value_kind) || value_kind == kPolar44) continue;
        SCOPED_TRACE(CodecPairName({k, v}) + " " + std::to_string(dim));
        Fixture({.codec = {k, v}, .key_kind = key_kind, .value_kind = value_kind}, dim, dim).Run();
        Fixture({.codec = {k, v}, .key_kind = key_kind, .value_kind = value_kind, .group = 16}, dim, dim + 1).Run();
      }
    }
  }
}

TEST_F(CudaDeviceAttentionTest, EqualLogits) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const auto& [id, kind] : kSides) {
      SCOPED_TRACE(std::string(CodecName(id)) + " " + std::to_string(dim));
      Fixture({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .tokens = {129, 1000}, .equal_keys = true}, dim, 4).Run();
    }
  }
}

TEST_F(CudaDeviceAttentionTest, PolarPairsAsRopeTurnsThem) {
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
    Fixture({.codec = {CodecId::kPolar44, CodecId::kTurbo4}, .key_kind = kPolar44, .rope = {pairing, 1e4f, 64}}, 128, 1)
        .Run();
  }
}

TEST_F(CudaDeviceAttentionTest, ScoresAlone) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const auto& [id, kind] : kSides) {
      for (const uint32_t group : {1u, 4u, 8u, 16u}) {
        SCOPED_TRACE(std::string(CodecName(id)) + " " + std::to_string(dim) + " " + std::to_string(group));
        Fixture({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .group = group, .queries = 2,
                 .tokens = {0, 1, 63, 64, 65, 1009}},
                dim, dim + group)
            .RunScores();
      }
    }
  }
}

TEST_F(CudaDeviceAttentionTest, QueriesAndOutputOf16Bits) {
  for (const ElementType type : {ElementType::kF16, ElementType::kBF16}) {
    for (const uint32_t dim : {64u, 128u, 256u}) {
      for (const auto& [id, kind] : kSides) {
        SCOPED_TRACE(std::string(CodecName(id)) + " " + std::to_string(dim) + " " + std::to_string(ElementBytes(type)));
        Fixture({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .queries = 3, .tokens = {130, 67}, .type = type}, dim, dim)
            .Run();
        Fixture({.codec = {id, CodecId::kTurbo4}, .key_kind = kind, .tokens = {67, 0, 130}, .type = type}, dim, dim + 1)
            .RunScores();
      }
      const KeyMeanShape means{MeansIn::kBlocks, 20, true, {RopePairing::kHalf, 10000.0f, 64}, 0, false};
      Fixture({.tokens = {131}, .means = means, .type = type}, dim, dim + 2).Run();
    }
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
  EXPECT_EQ(LaunchScores(codec, batch, {}, 16, nullptr, 0, nullptr), LaunchError::kWorkspaceTooSmall);
  EXPECT_EQ(LaunchScores(codec, batch, {nullptr, {0, 0, 1}}, 16, nullptr, 0, nullptr), LaunchError::kMisalignedRows);
  batch.scale = -1;
  EXPECT_EQ(LaunchAttention(codec, batch, 8, nullptr, 0, nullptr), LaunchError::kUnsupportedShape);
  batch.scale = 1;
  codec.head_dim = 72;
  EXPECT_EQ(LaunchAttention(codec, batch, 8, nullptr, 0, nullptr), LaunchError::kUnsupportedShape);
}

TEST(CudaDeviceTest, OnlyWholeThreadBlocksOfWarpsAreLaunched) {
  AttentionBatch batch;
  batch.sequences = batch.kv_heads = batch.tiles_per_page = 1;
  struct Valid {
    uint32_t head_dim, attention, scores;
  };
  for (const Valid& valid : {Valid{64, 8, 16}, {128, 8, 16}, {256, 6, 10}}) {
    AttentionCodec codec;
    codec.head_dim = valid.head_dim;
    for (uint32_t warps = 0; warps <= 48; ++warps) {
      SCOPED_TRACE(std::to_string(valid.head_dim) + " " + std::to_string(warps));
      EXPECT_EQ(LaunchAttention(codec, batch, warps, nullptr, 0, nullptr),
                warps > 0 && warps % valid.attention == 0 ? LaunchError::kWorkspaceTooSmall : LaunchError::kWrongWarps);
      EXPECT_EQ(LaunchScores(codec, batch, {}, warps, nullptr, 0, nullptr),
                warps > 0 && warps % valid.scores == 0 ? LaunchError::kWorkspaceTooSmall : LaunchError::kWrongWarps);
    }
  }
}

}  // namespace
}  // namespace polarkv::cuda
