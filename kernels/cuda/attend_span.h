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

// Ring: Fill(stage, address), Commit(), Wait<pending>() - all but the `pending` latest commits are there -, and
// Bytes(stage). Release(): the oldest stage has been read. Scratch(): kMeanScratchBytes.
template <class W, int kDim, int kKeyKind, int kValueKind, int kRowGroups, class Ring>
POLARKV_WARP_FUNCTION void AttendSpan(const AttentionArgs& args, const PermuteTables<kKeyKind>& key_tables,
                                      const PermuteTables<kValueKind>& value_tables, uint32_t warp, Ring& ring) {
  const uint64_t units = UnitCount(args);
  if (warp >= BusyWarps(args, units)) return;
  const uint64_t end = FirstUnitOfWarp(args, units, warp + 1);
  uint64_t unit = FirstUnitOfWarp(args, units, warp);
  UnitCursor cursor = UnitCursor::At(args, unit), ahead = cursor;
  uint32_t tokens[kRingStages];
  uint64_t filled = unit;
  const auto fill = [&] {
    if (filled < end) {
      const TilePlace place = FindTile(args, ahead);
      tokens[filled % kRingStages] = place.tokens;
      ring.Fill(static_cast<uint32_t>(filled % kRingStages), place.address);
      if (++filled < end) ahead.Advance(args);
    }
    ring.Commit();
  };
  for (uint32_t i = 1; i < kRingStages; ++i) fill();

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
    fill();
    ring.template Wait<kRingStages - 1>();
    const auto stage = static_cast<uint32_t>(unit % kRingStages);
    const StagedTile<W, kDim, kKeyKind, kValueKind> tile(ring.Bytes(stage));
    TileFacts<W> facts = tile.Facts(tokens[stage]);
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
