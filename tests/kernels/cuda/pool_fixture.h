// Sequences that go through a page pool: blocks uploaded, attended to layer by layer, released, again and again.
#ifndef POLARKV_TESTS_KERNELS_CUDA_POOL_FIXTURE_H_
#define POLARKV_TESTS_KERNELS_CUDA_POOL_FIXTURE_H_

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/page_pool.h"
#include "kernels/cuda/resident_block.h"
#include "tests/codec/random_kv.h"

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

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_POOL_FIXTURE_H_
