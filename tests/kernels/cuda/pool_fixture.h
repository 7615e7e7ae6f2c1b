// Sequences that go through a page pool on an emulated device: uploaded, attended to layer by layer, released.
#ifndef POLARKV_TESTS_KERNELS_CUDA_POOL_FIXTURE_H_
#define POLARKV_TESTS_KERNELS_CUDA_POOL_FIXTURE_H_

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "codec/key_mean_profile.h"
#include "kernels/cuda/page_pool.h"
#include "kernels/cuda/resident_block.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/cuda/emulated_device.h"

namespace polarkv::cuda {

inline constexpr uint32_t kPoolLayers = 3, kPoolHeads = 2, kPoolDim = 64, kPoolGroup = 2, kPoolTiles = 2;

// Blocks of one sequence; the last one is short.
struct PoolSequence {
  PoolSequence(uint32_t block_count, uint32_t seed, CodecPair codec = {CodecId::kTurbo4, CodecId::kTurbo4}) {
    for (uint32_t i = 0; i < block_count; ++i) {
      BlockSpec spec = testing::OneHead(codec, kPoolDim, i + 1 < block_count ? 64 * kPoolTiles : 70);
      spec.layers = kPoolLayers;
      spec.kv_heads = kPoolHeads;
      spec.first_position = 64 * kPoolTiles * i;
      EncodeOptions options;
      options.key_mean = KeyMeanPolicy::kNever;
      bytes.push_back(testing::Encode(spec, testing::GaussianKv(spec, seed + i), options));
      tokens += spec.tokens;
    }
    for (const auto& block : bytes) views.push_back(testing::Parse(block));
    q = testing::Gaussian(size_t{kPoolLayers} * kPoolHeads * kPoolGroup * kPoolDim, seed + 1000);
  }
  // Views of parts, as a reader has them who fetched no more.
  void Select(const BlockSelection& selection) {
    for (auto& block : bytes) {
      const BlockView whole = testing::Parse(block);
      std::vector<uint8_t> part;
      const std::vector<ByteRange> ranges = SelectionRanges(whole.layout(), selection).value();
      for (const ByteRange& range : ranges) {
        part.insert(part.end(), block.begin() + static_cast<ptrdiff_t>(range.offset),
                    block.begin() + static_cast<ptrdiff_t>(range.offset + range.length));
      }
      block = std::move(part);
    }
    views.clear();
    for (const auto& block : bytes) {
      views.push_back(BlockView::ParseSelection(block, selection, VerifyPayload::kYes).value());
    }
  }

  std::vector<std::vector<uint8_t>> bytes;
  std::vector<BlockView> views;
  uint32_t tokens = 0;
  std::vector<float> q;  // [layer][head][head_dim]
};

inline AttentionBatch PoolBatch(const uint32_t* tokens, const int32_t* table, const PageLayer* pages,
                                uint32_t page_stride, const float* q, float* o, float* lse) {
  AttentionBatch batch;
  batch.sequences = 1;
  batch.kv_heads = kPoolHeads;
  batch.group = kPoolGroup;
  batch.page_table = table;
  batch.tokens = tokens;
  batch.tiles_per_page = kPoolTiles;
  batch.pages = pages;
  batch.page_stride = page_stride;
  batch.q = q;
  batch.o = o;
  batch.type = ElementType::kF32;
  batch.q_stride[2] = batch.o_stride[2] = kPoolDim;
  batch.lse = lse;
  batch.scale = .125f;
  return batch;
}

inline constexpr size_t kRows = kPoolHeads * kPoolGroup;
inline constexpr uint32_t kWarps = 3;
inline constexpr LayerRange kAllLayers{0, kPoolLayers};

// What one sequence's attention left.
struct PoolResults {
  std::vector<float> o, lse;
  PoolResults() : o(size_t{kPoolLayers} * kRows * kPoolDim, 777.0f), lse(size_t{kPoolLayers} * kRows, 777.0f) {}
  friend bool operator==(const PoolResults&, const PoolResults&) = default;
};

// What there must be: the same on the host's own bytes, bit for bit.
inline PoolResults Expected(const PoolSequence& sequence) {
  PoolResults results;
  std::vector<int32_t> table;
  for (size_t i = 0; i < sequence.views.size(); ++i) table.push_back(static_cast<int32_t>(i));
  for (uint32_t layer = sequence.views[0].layer_begin(); layer < sequence.views[0].layer_end(); ++layer) {
    std::vector<PageLayer> pages;
    for (const BlockView& view : sequence.views) {
      const uint8_t* const profile = view.profile() == nullptr ? nullptr : view.profile()->bytes().data();
      pages.push_back(*PageLayerOf(view, layer, view.bytes().data(), profile));
    }
    EmulateAttention(*AttentionCodecOf(sequence.views[0], layer),
                     PoolBatch(&sequence.tokens, table.data(), pages.data(), 1,
                               sequence.q.data() + layer * kRows * kPoolDim, results.o.data() + layer * kRows * kPoolDim,
                               results.lse.data() + layer * kRows),
                     kWarps);
  }
  return results;
}

inline size_t LargestBlock(const PoolSequence& sequence) {
  size_t bytes = 0;
  for (const BlockView& view : sequence.views) {
    bytes = std::max(bytes, PageBytes(view, {view.layer_begin(), view.layer_end()}));
  }
  return bytes;
}

inline std::unique_ptr<PagePool> MakePool(EmulatedDevice& device, const PagePoolOptions& options) {
  std::unique_ptr<PagePool> pool;
  EXPECT_EQ(PagePool::Create(device, options, pool), PoolError::kNone);
  return pool;
}

// A reader: a queue of its own, and a place for results that the device writes to when it comes to it.
class PoolReader {
 public:
  PoolReader(EmulatedDevice& device, PagePool& pool) : device_(device), pool_(pool), queue_(device.MakeQueue()) {}
  ~PoolReader() {
    static_cast<void>(device_.Finish(queue_));
    device_.FreeQueue(queue_);
  }

  // kFull if there is no room now; the host waits for nothing.
  PoolError Start(const PoolSequence& sequence, HostMemory memory) {
    std::vector<int32_t> pages(sequence.views.size());
    if (const PoolError error = pool_.Take(pages, 0); error != PoolError::kNone) return error;
    uint64_t upload = 0;
    const PoolError error = pool_.Upload(sequence.views, pages, kAllLayers, memory, upload);
    if (error == PoolError::kNone) {
      Run& run = *runs_.emplace_back(std::make_unique<Run>());
      run.table = pages;
      run.tokens = sequence.tokens;
      for (uint32_t layer = 0; layer < kPoolLayers; ++layer) Attend(sequence, upload, layer, run);
    }
    const PoolError released = pool_.Release(pages, queue_);
    return error != PoolError::kNone ? error : released;
  }
  PoolError StartWhenThereIsRoom(const PoolSequence& sequence, HostMemory memory) {
    PoolError error = Start(sequence, memory);
    while (error == PoolError::kFull) {
      if (error = pool_.WaitForProgress(); error == PoolError::kNone) error = Start(sequence, memory);
    }
    return error;
  }
  PoolResults Finish(size_t run) {
    EXPECT_TRUE(device_.Finish(queue_));
    return runs_[run]->results;
  }
  Queue queue() const { return queue_; }

 private:
  struct Run {
    std::vector<int32_t> table;
    uint32_t tokens = 0;
    PoolResults results;
  };
  void Attend(const PoolSequence& sequence, uint64_t upload, uint32_t layer, Run& run) {
    EXPECT_EQ(pool_.WaitForLayer(upload, layer, queue_), PoolError::kNone);
    const AttentionBatch batch =
        PoolBatch(&run.tokens, run.table.data(), pool_.pages() + layer, pool_.page_stride(),
                  sequence.q.data() + layer * kRows * kPoolDim, run.results.o.data() + layer * kRows * kPoolDim,
                  run.results.lse.data() + layer * kRows);
    const AttentionCodec codec = *AttentionCodecOf(sequence.views[0], layer);
    std::vector<uint8_t> workspace(AttentionWorkspaceBytes(codec, batch, kWarps));  // emulation has its own
    EXPECT_EQ(device_.Attend(codec, batch, kWarps, workspace.data(), workspace.size(), queue_), LaunchError::kNone);
  }

  EmulatedDevice& device_;
  PagePool& pool_;
  const Queue queue_;
  std::vector<std::unique_ptr<Run>> runs_;
};

inline std::vector<PoolSequence> SomeSequences(uint32_t count) {
  std::vector<PoolSequence> sequences;
  for (uint32_t i = 0; i < count; ++i) sequences.emplace_back(1 + i % 3, 100 * i);
  return sequences;
}

inline PagePoolOptions OptionsFor(const std::vector<PoolSequence>& sequences, uint32_t slots) {
  size_t bytes = 0;
  for (const PoolSequence& sequence : sequences) bytes = std::max(bytes, LargestBlock(sequence));
  return {.slots = slots, .layers = kPoolLayers, .slot_bytes = bytes, .uploads = 4, .staging_bytes = 5 * bytes};
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_POOL_FIXTURE_H_
