// One warp's share of a launch: a span of units (attention_plan.h), tile after tile through a ring of stages, one partial
// result for each line that the span touches.
#ifndef POLARKV_KERNELS_CUDA_ATTEND_SPAN_H_
#define POLARKV_KERNELS_CUDA_ATTEND_SPAN_H_

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/query_rows.h"
#include "kernels/cuda/raw_tokens.h"
#include "kernels/cuda/tile_stage.h"

namespace polarkv::cuda {

inline constexpr uint32_t kRingStages = 2;

struct TilePlace {
  TileAddress address;
  uint32_t tokens;
};

POLARKV_HOST_DEVICE inline uint32_t SmallerOf(uint32_t a, uint32_t b) { return a < b ? a : b; }

POLARKV_HOST_DEVICE inline const PageLayer& FindPage(const AttentionArgs& args, const UnitCursor& at) {
  const AttentionBatch& batch = args.batch;
  const int32_t page =
      batch.page_table[uint64_t{at.sequence} * batch.page_table_stride + at.tile / batch.tiles_per_page];
  return batch.pages[static_cast<uint64_t>(page) * batch.page_stride];
}

// Of the pass, among all padded rows.
template <int kRowGroups>
POLARKV_HOST_DEVICE uint64_t FirstRowOf(const AttentionArgs& args, const UnitCursor& at) {
  return (uint64_t{at.sequence} * args.batch.kv_heads + at.kv_head) * args.padded_rows() + at.pass * 8 * kRowGroups;
}

POLARKV_HOST_DEVICE inline TilePlace FindTile(const AttentionArgs& args, const UnitCursor& at) {
  const AttentionBatch& batch = args.batch;
  const uint32_t in_page = at.tile % batch.tiles_per_page;
  const PageLayer& layer = FindPage(args, at);
  const uint64_t index = uint64_t{at.kv_head} * layer.tiles + in_page;
  TilePlace place;
  place.address.base = layer.base + index * args.base_tile_bytes;
  for (int side = 0; side < 2; ++side) {
    for (int plane = 0; plane < 2; ++plane) {
      const uint8_t* refine = layer.refine[side][plane];
      place.address.refine[side][plane] = refine == nullptr ? nullptr : refine + index * args.refine_tile_bytes;
    }
  }
  place.tokens = SmallerOf(64, SmallerOf(batch.tokens[at.sequence] - 64 * at.tile, layer.tokens - 64 * in_page));
  return place;
}

// Leaves the state in the slot of (warp, line), all lanes' shares of the sums added up.
template <class W, int kDim, int kRowGroups>
POLARKV_WARP_FUNCTION void StorePartial(const AttentionArgs& args, uint64_t slot,
                                        const OutputState<W, kDim> (&state)[kRowGroups]) {
  constexpr uint64_t kFloats = kDim / 64 * 16 * 32;
  POLARKV_UNROLL
  for (int n = 0; n < kRowGroups; ++n) {
    float* const output = args.partial_output + (slot * kRowGroups + static_cast<uint64_t>(n)) * kFloats;
    POLARKV_UNROLL
    for (int i = 0; i < kDim / 64 * 16; ++i) {
      W::StoreFloat(output + 32 * i, W::Lane(), state[n].o[i / 16][i / 4 % 4][i % 4]);
    }
    float* const facts = args.partial_state + (slot * kRowGroups + static_cast<uint64_t>(n)) * 16;
    POLARKV_UNROLL
    for (uint32_t column = 0; column < 2; ++column) {
      const auto first = typename W::U32(4u) > W::Lane();
      W::StoreFloatIf(first, facts, W::Lane() * 2u + column, state[n].reference[column]);
      W::StoreFloatIf(first, facts + 8, W::Lane() * 2u + column, SumOverRow<W>(state[n].sum[column]));
    }
  }
}

// Ring: Fill(stage, address), Commit(), Wait<pending>() - all but the `pending` latest commits are there -, and
// Bytes(stage). Release(): the oldest stage has been read.
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

  QueryOperand<W, kDim> queries[kRowGroups];
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
    if (facts.tokens < 64) facts.left_out &= (uint64_t{1} << facts.tokens) - 1;
    AttendTile<W, kDim, kKeyKind, kValueKind, kRowGroups>(tile, facts, key_tables, value_tables, queries, state);
    if (facts.left_out != 0) {
      const PageLayer& page = FindPage(args, cursor);
      AttendRawTokens<W, kDim, kKeyKind, kValueKind, kRowGroups>(
          args, ring.Bytes(stage), page.escapes, facts.left_out, FirstRowOf<kRowGroups>(args, cursor), queries, state);
    }
    ring.Release();
    ++unit;
    if (unit == end || cursor.tile + 1 == cursor.tiles) {
      StorePartial<W, kDim, kRowGroups>(args, PartialSlot(warp, cursor.Line(args)), state);
      begun = false;
    }
    if (unit == end) return;
    cursor.Advance(args);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ATTEND_SPAN_H_
