// Attention of one sequence's queries on given blocks, whatever is in them, by one launch on emulated lanes of head_dim 64.
#ifndef POLARKV_TESTS_KERNELS_CUDA_BLOCK_LAUNCH_H_
#define POLARKV_TESTS_KERNELS_CUDA_BLOCK_LAUNCH_H_

#include <numeric>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/resident_block.h"
#include "tests/kernels/cuda/emulated_device.h"

namespace polarkv::cuda {

struct LaunchResult {
  std::vector<float> o, lse;
};

// `q`: rows of one KV head, at most 16. All blocks but the last have as many tiles as the first.
inline LaunchResult LaunchOnBlocks(std::span<const BlockView> blocks, const std::vector<float>& q, float scale) {
  std::vector<PageLayer> pages;
  std::vector<int32_t> table(blocks.size());
  std::iota(table.begin(), table.end(), 0);
  AttentionCodec codec = *AttentionCodecOf(blocks[0], 0);
  uint32_t tokens = 0;
  for (const BlockView& block : blocks) {
    EXPECT_TRUE(JoinKeyMeans(*AttentionCodecOf(block, 0), codec));
    pages.push_back(*PageLayerOf(block, 0, block.bytes().data(), nullptr));
    tokens += block.spec().tokens;
  }
  LaunchResult result{std::vector<float>(q.size(), NAN), std::vector<float>(q.size() / codec.head_dim, NAN)};
  AttentionBatch batch;
  batch.sequences = batch.kv_heads = 1;
  batch.group = static_cast<uint32_t>(result.lse.size());
  batch.page_table = table.data();
  batch.page_table_stride = static_cast<uint32_t>(table.size());
  batch.tokens = &tokens;
  batch.tiles_per_page = blocks[0].spec().tiles();
  batch.pages = pages.data();
  batch.q = q.data();
  batch.o = result.o.data();
  batch.lse = result.lse.data();
  batch.type = ElementType::kF32;
  batch.q_stride[2] = batch.o_stride[2] = codec.head_dim;
  batch.scale = scale;
  EmulateAttention(codec, batch, 3);
  return result;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_BLOCK_LAUNCH_H_
