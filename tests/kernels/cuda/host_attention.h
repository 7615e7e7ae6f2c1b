// A launch of kernels/cuda/attention.h on the host: the same warp programs, warp after warp, on emulated lanes.
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_ATTENTION_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_ATTENTION_H_

#include <array>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "kernels/cuda/attend_span.h"
#include "kernels/cuda/merge_rows.h"
#include "kernels/cuda/raw_tokens.h"
#include "tests/kernels/cuda/host_warp.h"

namespace polarkv::cuda {

// Shared memory that asynchronous copies fill. What a copy is to bring is poisoned from its start until it is waited for.
template <class Stage, uint32_t kScratchBytes>
class HostRing {
 public:
  void Fill(uint32_t stage, const TileAddress& tile) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      Stage::Fill(tile, lane, [&](uint32_t offset, const uint8_t* from) {
        EXPECT_LE(offset + 16, Stage::kBytes);
        uint8_t* const to = bytes_[stage].data() + offset;
        std::memset(to, 0xA5, 16);
        open_.emplace_back(to, from);
      });
    }
  }
  void Commit() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  template <uint32_t kPending>
  void Wait() {
    for (; groups_.size() > kPending; groups_.pop_front()) {
      for (const auto& [to, from] : groups_.front()) std::memcpy(to, from, 16);
    }
  }
  void Release() {}
  const uint8_t* Bytes(uint32_t stage) const { return bytes_[stage].data(); }
  uint8_t* Scratch() { return scratch_.data(); }

 private:
  using Copies = std::vector<std::pair<uint8_t*, const uint8_t*>>;
  std::array<std::array<uint8_t, Stage::kBytes>, kRingStages> bytes_{};
  alignas(16) std::array<uint8_t, kScratchBytes> scratch_{};
  Copies open_;
  std::deque<Copies> groups_;
};

template <int kDim, int kKeyKind, int kValueKind, int kRowGroups>
void AttendOnHost(const AttentionCodec& codec, const AttentionArgs& args) {
  for (uint32_t warp = 0; warp < args.warps; ++warp) {
    HostRing<TileStage<kDim, kKeyKind, kValueKind>, kMeanScratchBytes<kDim, kRowGroups>> ring;
    AttendSpan<HostWarp, kDim, kKeyKind, kValueKind, kRowGroups>(
        args, MakePermuteTables<kKeyKind>(codec.key_image), MakePermuteTables<kValueKind>(codec.value_image), warp, ring);
  }
}

template <int kDim, int kKeyKind, int kValueKind>
void AttendOnHost(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps) {
  std::vector<std::array<uint8_t, 256>> workspace(AttentionWorkspaceBytes(codec, batch, warps) / 256 + 1);
  std::memset(workspace.data(), 0xFF, workspace.size() * 256);  // NaN, and lengths of no sense
  size_t bytes = 0;
  const AttentionArgs args = MakeAttentionArgs(codec, batch, warps, workspace.data(), bytes);
  args.tile_prefix[0] = 0;
  for (uint32_t s = 0; s < batch.sequences; ++s) {
    args.tile_prefix[s + 1] = args.tile_prefix[s] + (batch.tokens[s] + 63) / 64;
  }
  for (uint32_t i = 0; codec.means.any && i < MeanTable<kDim>::kWarps; ++i) {
    MakeMeanTable<HostWarp, kDim>(codec.means, i, args.mean_table);
  }
  for (uint32_t i = 0; i < RowsOfHead::Count(args); ++i) PrepareRows<HostWarp, kDim, ElementType::kF32>(args, i);
  for (uint32_t i = 0; i < RowsOfHead::Count(args); ++i) AttendRawTokens<HostWarp, kDim>(args, i);
  if (args.row_groups == 1) {
    AttendOnHost<kDim, kKeyKind, kValueKind, 1>(codec, args);
  } else {
    AttendOnHost<kDim, kKeyKind, kValueKind, 2>(codec, args);
  }
  for (uint32_t i = 0; i < RowsOfHead::Count(args); ++i) MergeRows<HostWarp, kDim, ElementType::kF32>(args, i);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_ATTENTION_H_
