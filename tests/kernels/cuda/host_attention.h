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
#include "kernels/cuda/plan_tiles.h"
#include "kernels/cuda/raw_tokens.h"
#include "kernels/cuda/score_span.h"
#include "tests/kernels/cuda/attention_fixture.h"
#include "tests/kernels/cuda/host_warp.h"

namespace polarkv::cuda {

// Shared memory that asynchronous copies fill. What a copy is to bring is poisoned from its start until it is waited for.
template <class Stage, uint32_t kScratchBytes>
class HostRing {
 public:
  void Fill(uint32_t stage, const TileAddress& tile) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      Stage::Fill(tile, lane, [&](bool condition, uint32_t offset, const uint8_t* from) {
        if (!condition) return;
        EXPECT_LE(offset + 16, Stage::kBytes);
        uint8_t* const to = bytes_[stage].data() + offset;
        // Copies of one group come in no order.
        for (const auto& copy : open_) EXPECT_TRUE(copy.first + 16 <= to || to + 16 <= copy.first) << offset;
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

template <int kDim, int kKeyKind, int kRowGroups>
void AttendWarpsOnHost(const AttentionCodec& codec, const AttentionArgs& args) {
  for (uint32_t warp = 0; warp < args.warps; ++warp) {
    HostRing<TileStage<kDim, kKeyKind, kAnyCodes>, kMeanScratchBytes<kDim, kRowGroups>> ring;
    AttendSpan<HostWarp, kDim, kKeyKind, kAnyCodes, kRowGroups>(
        args, MakeKeyTables<kKeyKind>(codec.key_kind, codec.key_image),
        MakeAnyTables(codec.value_kind, codec.value_image), warp, ring);
  }
}

using HostWorkspace = std::vector<std::array<uint8_t, 256>>;
inline HostWorkspace MakeWorkspace(size_t bytes) {
  HostWorkspace workspace(bytes / 256 + 1);
  std::memset(workspace.data(), 0xFF, workspace.size() * 256);  // NaN, and lengths of no sense
  return workspace;
}

template <class Function>
void WithElementType(ElementType type, const Function& function) {
  if (type == ElementType::kF16) return function.template operator()<ElementType::kF16>();
  if (type == ElementType::kBF16) return function.template operator()<ElementType::kBF16>();
  function.template operator()<ElementType::kF32>();
}

// What the kernels before those that read tiles do.
template <int kDim>
void PlanAndPrepareOnHost(const AttentionCodec& codec, const AttentionArgs& args) {
  PlanTiles<HostWarp>(args);
  for (uint32_t i = 0; codec.means.any && i < MeanTable<kDim>::kWarps; ++i) {
    MakeMeanTable<HostWarp, kDim>(codec.means, i, args.mean_table);
  }
  for (uint32_t i = 0; i < RowsOfHead::Count(args); ++i) {
    WithElementType(args.batch.type, [&]<ElementType kType>() { PrepareRows<HostWarp, kDim, kType>(args, i); });
  }
}

template <int kDim, int kKeyKind, int kRowGroups>
void ScoreWarpsOnHost(const AttentionCodec& codec, const ScoresArgs& args) {
  for (uint32_t warp = 0; warp < args.attention.warps; ++warp) {
    HostRing<TileStage<kDim, kKeyKind, kNoCodes>, kMeanScratchBytes<kDim, kRowGroups>> ring;
    ScoreSpan<HostWarp, kDim, kKeyKind, kRowGroups>(args, MakeKeyTables<kKeyKind>(codec.key_kind, codec.key_image), warp,
                                                    ring);
  }
}

template <int kDim>
void ScoreOnHost(const AttentionCodec& codec, const AttentionBatch& batch, const ScoresTarget& target, uint32_t warps) {
  HostWorkspace workspace = MakeWorkspace(ScoresWorkspaceBytes(codec, batch));
  size_t bytes = 0;
  const ScoresArgs args = MakeScoresArgs(codec, batch, target, warps, workspace.data(), bytes);
  PlanAndPrepareOnHost<kDim>(codec, args.attention);
  if (codec.key_kind == kPolar44) {
    ScoreWarpsOnHost<kDim, kPolar44, 1>(codec, args);
  } else if (IsSignKind(codec.key_kind)) {
    ScoreWarpsOnHost<kDim, kSigns4, 1>(codec, args);
  } else if (args.attention.row_groups == 1) {
    ScoreWarpsOnHost<kDim, kAnyCodes, 1>(codec, args);
  } else {
    ScoreWarpsOnHost<kDim, kAnyCodes, 2>(codec, args);
  }
  for (uint32_t i = 0; i < RowsOfHead::Count(args.attention); ++i) ScoreRawKeys<HostWarp, kDim>(args, i);
}

template <int kDim>
void AttendOnHost(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps) {
  HostWorkspace workspace = MakeWorkspace(AttentionWorkspaceBytes(codec, batch, warps));
  size_t bytes = 0;
  const AttentionArgs args = MakeAttentionArgs(codec, batch, warps, workspace.data(), bytes);
  PlanAndPrepareOnHost<kDim>(codec, args);
  for (uint32_t i = 0; i < RowsOfHead::Count(args); ++i) AttendRawTokens<HostWarp, kDim>(args, i);
  if (codec.key_kind == kPolar44) {
    AttendWarpsOnHost<kDim, kPolar44, 1>(codec, args);
  } else if (IsSignKind(codec.key_kind)) {
    AttendWarpsOnHost<kDim, kSigns4, 1>(codec, args);
  } else if (args.row_groups == 1) {
    AttendWarpsOnHost<kDim, kAnyCodes, 1>(codec, args);
  } else {
    AttendWarpsOnHost<kDim, kAnyCodes, 2>(codec, args);
  }
  for (uint32_t i = 0; i < RowsOfHead::Count(args); ++i) {
    WithElementType(args.batch.type, [&]<ElementType kType>() { MergeRows<HostWarp, kDim, kType>(args, i); });
  }
}

// The backend of attention_fixture.h. A template, so that a test compiles only what it calls.
template <class W = HostWarp>
struct HostAttention {
  static void Attend(const AttentionCase& c) {
    if (c.codec.head_dim == 64) return AttendOnHost<64>(c.codec, c.batch, c.warps);
    if (c.codec.head_dim == 128) return AttendOnHost<128>(c.codec, c.batch, c.warps);
    AttendOnHost<256>(c.codec, c.batch, c.warps);
  }
  static void Score(const AttentionCase& c) {
    if (c.codec.head_dim == 64) return ScoreOnHost<64>(c.codec, c.batch, c.target, c.warps);
    if (c.codec.head_dim == 128) return ScoreOnHost<128>(c.codec, c.batch, c.target, c.warps);
    ScoreOnHost<256>(c.codec, c.batch, c.target, c.warps);
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_ATTENTION_H_
