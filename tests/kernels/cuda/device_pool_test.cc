// The page pool and the host API on a device: encoded there, uploaded, attended to layer by layer, decoded.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "kernels/cuda/device_attention.h"
#include "kernels/cuda/device_codec.h"
#include "kernels/cuda/page_pool.h"
#include "kernels/cuda/resident_block.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/cuda/device_memory.h"
#include "tests/kernels/device_blocks.h"

namespace polarkv::cuda {
namespace {

using testing::kTurbo;
using testing::WithoutMeans;

BlockSpec Spec(uint32_t tokens, uint16_t layers, uint64_t first_position = 0) {
  BlockSpec spec = testing::DeviceSpec(kTurbo, 128, tokens, layers);
  spec.first_position = first_position;
  return spec;
}

class CudaDevicePoolTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string why;
    device_ = CudaDevice(why);
    if (device_ == nullptr) GTEST_SKIP() << "no CUDA device here: " << why;
  }
  Device* device_ = nullptr;
};

// Blocks that the device encoded, in pinned memory.
struct PinnedBlocks {
  PinnedBlocks(Device& on, uint32_t count, uint16_t layers) : device(on), codec(on) {
    for (uint32_t i = 0; i < count; ++i) {
      const BlockSpec spec = Spec(i + 1 < count ? 256 : 70, layers, 256 * i);
      const testing::Kv kv = testing::GaussianKv(spec, 10 + i);
      std::vector<uint8_t> bytes;
      const absl::Status status =
          codec.Encode(spec, testing::View(spec, kv.k), testing::View(spec, kv.v), WithoutMeans(), bytes);
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_TRUE(bytes == testing::Encode(spec, kv, WithoutMeans())) << "block " << i << " is not the reference's";
      void* const pinned = device.AllocatePinned(bytes.size());
      std::memcpy(pinned, bytes.data(), bytes.size());
      memory.push_back(pinned);
      views.push_back(
          BlockView::Parse({static_cast<const uint8_t*>(pinned), bytes.size()}, VerifyPayload::kYes).value());
      tokens += spec.tokens;
    }
  }
  ~PinnedBlocks() {
    for (void* const pinned : memory) device.FreePinned(pinned);
  }
  Device& device;
  DeviceCodec codec;
  std::vector<void*> memory;
  std::vector<BlockView> views;
  uint32_t tokens = 0;
};

// Eight rounds over a pool with room for one and a half: slots are used again while their last use is under way.
TEST_F(CudaDevicePoolTest, EncodesUploadsAndAttendsLayerByLayerInSlotsThatAreUsedAgain) {
  constexpr uint32_t kLayers = 6, kHeads = 2, kGroup = 4, kDim = 128, kBlocks = 4, kRounds = 8;
  const PinnedBlocks blocks(*device_, kBlocks, kLayers);
  std::unique_ptr<PagePool> pool;
  const size_t slot = PageBytes(blocks.views[0], {0, kLayers});
  ASSERT_EQ(PagePool::Create(*device_, {.slots = 6, .layers = kLayers, .slot_bytes = slot, .staging_bytes = 8 * slot}, pool),
            PoolError::kNone);
  constexpr size_t kRows = kHeads * kGroup, kValues = kRows * kDim;
  const std::vector<float> q = testing::Gaussian(kLayers * kValues, 5);
  const DeviceMemory device_q(q), lengths(std::vector<uint32_t>{blocks.tokens}),
      o(kRounds * kLayers * kValues * sizeof(float)), lse(kRounds * kLayers * kRows * sizeof(float)),
      tables(kRounds * kBlocks * sizeof(int32_t));
  const AttentionCodec codec = *AttentionCodecOf(blocks.views[0], 0);
  const uint32_t warps = AttentionWarps(kDim);
  const OwnedQueue queue(*device_);
  AttentionBatch batch;
  batch.sequences = 1;
  batch.kv_heads = kHeads;
  batch.group = kGroup;
  batch.tokens = lengths.As<uint32_t>();
  batch.page_table_stride = kBlocks;
  batch.tiles_per_page = 4;
  batch.page_stride = pool->page_stride();
  batch.type = ElementType::kF32;
  batch.q_stride[2] = batch.o_stride[2] = kDim;
  batch.scale = 0.0883883f;
  const DeviceMemory workspace(AttentionWorkspaceBytes(codec, batch, warps));
  std::vector<std::vector<int32_t>> pages(kRounds, std::vector<int32_t>(kBlocks));
  for (uint32_t round = 0; round < kRounds; ++round) {
    PoolError error = PoolError::kFull;
    while (error == PoolError::kFull) {
      error = pool->Take(pages[round], 0);
      if (error == PoolError::kFull) {
        ASSERT_EQ(pool->WaitForProgress(), PoolError::kNone);
      }
    }
    ASSERT_EQ(error, PoolError::kNone);
    uint64_t upload = 0;
    const HostMemory from = round % 2 == 0 ? HostMemory::kPinned : HostMemory::kPageable;
    ASSERT_EQ(pool->Upload(blocks.views, pages[round], {0, kLayers}, from, upload), PoolError::kNone);
    int32_t* const table = tables.As<int32_t>() + round * kBlocks;
    ASSERT_TRUE(device_->CopyIn(table, pages[round].data(), kBlocks * sizeof(int32_t), queue.get()));
    batch.page_table = table;
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      ASSERT_EQ(pool->WaitForLayer(upload, layer, queue.get()), PoolError::kNone);
      batch.pages = pool->pages() + layer;
      batch.q = device_q.As<float>() + layer * kValues;
      batch.o = o.As<float>() + (round * kLayers + layer) * kValues;
      batch.lse = lse.As<float>() + (round * kLayers + layer) * kRows;
      const LaunchError launched = LaunchAttention(codec, batch, warps, workspace.As<void>(),
                                                   AttentionWorkspaceBytes(codec, batch, warps), queue.get());
      ASSERT_EQ(launched, LaunchError::kNone) << LaunchErrorText(launched);
    }
    ASSERT_EQ(pool->Release(pages[round], queue.get()), PoolError::kNone);
  }
  std::vector<float> got_o(kRounds * kLayers * kValues), got_lse(kRounds * kLayers * kRows);
  ASSERT_TRUE(device_->CopyOut(got_o.data(), o.As<void>(), got_o.size() * sizeof(float), queue.get()));
  ASSERT_TRUE(device_->CopyOut(got_lse.data(), lse.As<void>(), got_lse.size() * sizeof(float), queue.get()));
  ASSERT_TRUE(device_->Finish(queue.get())) << device_->LastError();
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    std::vector<float> expected(kValues), expected_lse(kRows);
    ASSERT_TRUE(reference::Attend(blocks.views, layer, kRows, 1, std::span(q).subspan(layer * kValues, kValues),
                                  batch.scale, expected, expected_lse)
                    .ok());
    for (uint32_t round = 0; round < kRounds; ++round) {
      const size_t at = round * kLayers + layer;
      for (size_t i = 0; i < kRows; ++i) ASSERT_NEAR(got_lse[at * kRows + i], expected_lse[i], .02) << round;
      for (size_t i = 0; i < kValues; ++i) ASSERT_NEAR(got_o[at * kValues + i], expected[i], .02) << round;
      // The same bits in whatever slots.
      ASSERT_TRUE(std::equal(got_o.begin() + static_cast<ptrdiff_t>(at * kValues),
                             got_o.begin() + static_cast<ptrdiff_t>((at + 1) * kValues),
                             got_o.begin() + static_cast<ptrdiff_t>(layer * kValues)));
    }
  }
}

// A quarter of a GB, of which the first layer is an eighth.
TEST_F(CudaDevicePoolTest, TheFirstLayerIsThereLongBeforeTheLast) {
  constexpr uint16_t kLayers = 8;
  const PinnedBlocks one(*device_, 2, kLayers);
  const size_t slot = PageBytes(one.views[0], {0, kLayers});
  const auto count = static_cast<uint32_t>((size_t{256} << 20) / slot);
  std::unique_ptr<PagePool> pool;
  ASSERT_EQ(PagePool::Create(*device_, {.slots = count, .layers = kLayers, .slot_bytes = slot}, pool), PoolError::kNone);
  const std::vector<BlockView> views(count, one.views[0]);
  std::vector<int32_t> pages(count);
  const OwnedQueue queue(*device_);
  const Event first = device_->MakeEvent();
  uint64_t upload = 0;
  ASSERT_EQ(pool->Take(pages, 0), PoolError::kNone);
  ASSERT_EQ(pool->Upload(views, pages, {0, kLayers}, HostMemory::kPinned, upload), PoolError::kNone);
  ASSERT_EQ(pool->WaitForLayer(upload, 0, queue.get()), PoolError::kNone);
  ASSERT_TRUE(device_->Record(first, queue.get()));
  ASSERT_TRUE(device_->FinishEvent(first));
  EXPECT_FALSE(pool->IsDone(upload)) << "a reader of layer 0 waited for all layers";
  while (!pool->IsDone(upload)) ASSERT_EQ(pool->WaitForProgress(), PoolError::kNone);
  device_->FreeEvent(first);
}

TEST_F(CudaDevicePoolTest, HostApiAttendsAsTheReferenceWithTheNextLayerAhead) {
  const PinnedBlocks blocks(*device_, 5, 3);
  std::vector<BlockView> mixed = blocks.views;
  std::swap(mixed[1], mixed[4]);  // a short block in the middle
  DeviceAttention attention(*device_);
  for (const uint32_t queries : {1u, 3u, 17u}) {
    for (const uint32_t layer : {0u, 1u, 2u, 0u}) {
      SCOPED_TRACE(queries * 10 + layer);
      const std::vector<float> q = testing::Gaussian(size_t{4} * queries * 128, layer + queries);
      std::vector<float> o(q.size()), lse(q.size() / 128), expected(o.size()), expected_lse(lse.size());
      const BlockLayer next{mixed, (layer + 1) % 3};
      const absl::Status status = attention.Attend({mixed, layer}, 4, queries, q, .0883883f, o, lse, &next);
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_TRUE(reference::Attend(mixed, layer, 4, queries, q, .0883883f, expected, expected_lse).ok());
      for (size_t i = 0; i < lse.size(); ++i) ASSERT_NEAR(lse[i], expected_lse[i], .02);
      for (size_t i = 0; i < o.size(); ++i) ASSERT_NEAR(o[i], expected[i], .02);
    }
  }
}

TEST_F(CudaDevicePoolTest, HostApiDecodesTheReferencesNumbers) {
  const PinnedBlocks blocks(*device_, 2, 3);
  DeviceCodec codec(*device_);
  for (const BlockView& view : blocks.views) {
    const testing::Kv expected = testing::Decode(view);
    std::vector<uint8_t> k(expected.k.size() * 4), v(k.size());
    const absl::Status status = codec.Decode(view, Dtype::kF32, k, v);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(std::memcmp(k.data(), expected.k.data(), k.size()), 0);
    EXPECT_EQ(std::memcmp(v.data(), expected.v.data(), v.size()), 0);
  }
}

TEST_F(CudaDevicePoolTest, APoolThatIsTooLargeIsRefusedAndNothingElseSuffers) {
  std::unique_ptr<PagePool> pool;
  EXPECT_EQ(PagePool::Create(*device_, {.slots = 1 << 20, .layers = 1, .slot_bytes = size_t{1} << 30}, pool),
            PoolError::kOutOfMemory);
  EXPECT_EQ(pool, nullptr);
  ASSERT_EQ(PagePool::Create(*device_, {.slots = 2, .layers = 1, .slot_bytes = 1000}, pool), PoolError::kNone);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "a later launch would be blamed";
}

}  // namespace
}  // namespace polarkv::cuda
