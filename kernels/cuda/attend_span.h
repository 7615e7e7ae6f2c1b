// One warp's share of a launch: a span of units (attention_plan.h), tile after tile through a ring of stages, one partial
// result for each line that the span touches.
#ifndef POLARKV_KERNELS_CUDA_ATTEND_SPAN_H_
#define POLARKV_KERNELS_CUDA_ATTEND_SPAN_H_

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/mean_logits.h"
#include "kernels/cuda/partial_result.h"
#include "kernels/cuda/query_rows.h"
#include "kernels/cuda/tile_place.h"

namespace polarkv::cuda {

inline constexpr uint32_t kRingStages = 2;

// Of the pass, among all padded rows.
template <int kRowGroups>
POLARKV_HOST_DEVICE uint64_t FirstRowOf(const AttentionArgs& args, const UnitCursor& at) {
  return (uint64_t{at.sequence} * args.batch.kv_heads + at.kv_head) * args.padded_rows() + at.pass * 8 * kRowGroups;
}

// Keeps the ring filled with the tiles of a warp's span, kRingStages - 1 of them ahead of the one in use.
// Ring: Fill(stage, address), Commit(), Wait<pending>() - all but the `pending` latest commits are there.
template <class Ring>
class TilesAhead {
 public:
  POLARKV_WARP_FUNCTION TilesAhead(const AttentionArgs& args, Ring& ring, const UnitCursor& first, uint64_t unit,
                                   uint64_t end)
      : args_(args), ring_(ring), cursor_(first), filled_(unit), end_(end) {
    for (uint32_t i = 1; i < kRingStages; ++i) Fill();
  }

  // The next tile, if the span has one.
  POLARKV_WARP_FUNCTION void Fill() {
    if (filled_ < end_) {
      const TilePlace place = FindTile(args_, cursor_);
      tokens_[filled_ % kRingStages] = place.tokens;
      ring_.Fill(static_cast<uint32_t>(filled_ % kRingStages), place.address);
      if (++filled_ < end_) cursor_.Advance(args_);
    }
    ring_.Commit();
  }
  // Where the unit's tile is, once it is there; after its Fill as many more as are to be ahead.
  POLARKV_WARP_FUNCTION uint32_t Wait(uint64_t unit) {
    ring_.template Wait<kRingStages - 1>();
    return static_cast<uint32_t>(unit % kRingStages);
  }
  POLARKV_WARP_FUNCTION uint32_t tokens(uint32_t stage) const { return tokens_[stage]; }

 private:
  const AttentionArgs& args_;
  Ring& ring_;
  UnitCursor cursor_;
  uint64_t filled_;
  const uint64_t end_;
  uint32_t tokens_[kRingStages];
};

// Leaves in the facts what key means add to the scores of a tile; `with_mean`: the tokens that it is added to.
template <class W, int kDim, int kRowGroups>
POLARKV_WARP_FUNCTION void FindMeanLogits(const AttentionArgs& args, const UnitCursor& at, uint64_t with_mean,
                                          uint8_t* scratch, TileFacts<W>& facts) {
  const uint64_t row = FirstRowOf<kRowGroups>(args, at);
  facts.mean_logits = scratch + kMeanLogits<kDim>;
  if constexpr (kRowGroups == 1) {
    facts.has_means = MeanLogitsOfTile<W, kDim, 1>(args, at, row, with_mean, scratch);
  } else {
    facts.has_means = CallMeanLogits<W, kDim, kRowGroups>(args, at, row, with_mean, scratch);
  }
}

// Ring: as TilesAhead's, and Bytes(stage). Release(): the oldest stage has been read. Scratch(): kMeanScratchBytes.
template <class W, int kDim, int kKeyKind, int kValueKind, int kRowGroups, class Ring>
POLARKV_WARP_FUNCTION void AttendSpan(const AttentionArgs& args, const PermuteTables<kKeyKind>& key_tables,
                                      const PermuteTables<kValueKind>& value_tables, uint32_t warp, Ring& ring) {
  const uint64_t units = UnitCount(args);
  if (warp >= BusyWarps(args, units)) return;
  const uint64_t end = FirstUnitOfWarp(args, units, warp + 1);
  uint64_t unit = FirstUnitOfWarp(args, units, warp);
  UnitCursor cursor = UnitCursor::At(args, unit);
  TilesAhead<Ring> ahead(args, ring, cursor, unit, end);

  KeyQueries<W, kDim, kKeyKind> queries[kRowGroups];
  OutputState<W, kDim> state[kRowGroups];
  bool begun = false;
  for (;;) {
    if (!begun) {
      const uint64_t row = FirstRowOf<kRowGroups>(args, cursor);
      POLARKV_UNROLL
      for (int n = 0; n < kRowGroups; ++n) {
        LoadQueries<W, kDim>(args, row + 8 * static_cast<uint64_t>(n), queries[n]);
        state[n].Clear();
      }
      begun = true;
    }
    ahead.Fill();
    const uint32_t stage = ahead.Wait(unit);
    const StagedTile<W, kDim, kKeyKind, kValueKind> tile(ring.Bytes(stage));
    TileFacts<W> facts = tile.Facts(ahead.tokens(stage));
    if (args.mean_table != nullptr && tile.Head().k_mean != 0) {
      // Bits of padding and of what is left out do not matter.
      FindMeanLogits<W, kDim, kRowGroups>(args, cursor, tile.Head().k_mean | facts.Masked(), ring.Scratch(), facts);
    }
    AttendTile<W, kDim, kKeyKind, kValueKind, kRowGroups>(tile, facts, key_tables, value_tables, queries, state);
    ring.Release();
    ++unit;
    if (unit == end || cursor.tile + 1 == cursor.tiles) {
      POLARKV_UNROLL
      for (int n = 0; n < kRowGroups; ++n) {
        const uint64_t slot = PartialSlot(warp, cursor.Line(args));
        StorePartial<W, kDim>(args, slot * kRowGroups + static_cast<uint64_t>(n), state[n]);
      }
      begun = false;
    }
    if (unit == end) return;
    cursor.Advance(args);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ATTEND_SPAN_H_
