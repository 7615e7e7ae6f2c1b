// Who attends on which tiles. All tiles of a launch, of every sequence, KV head and pass, stand in one line (units);
// each warp takes an equal share of it, so that one long sequence fills the device as well as many short ones do. The plan
// follows from the lengths in device memory and is made anew by every launch: nothing stale under CUDA graphs.
#ifndef POLARKV_KERNELS_CUDA_ATTENTION_PLAN_H_
#define POLARKV_KERNELS_CUDA_ATTENTION_PLAN_H_

#include <cstdint>

#include "kernels/cuda/attention_args.h"

namespace polarkv::cuda {

// Units: sequence by sequence, in it [kv_head][pass][tile]. A line (sequence, kv_head, pass) has a number of its own.
POLARKV_HOST_DEVICE inline uint64_t LinesPerSequence(const AttentionArgs& args) {
  return uint64_t{args.batch.kv_heads} * args.passes;
}
POLARKV_HOST_DEVICE inline uint64_t UnitCount(const AttentionArgs& args) {
  return LinesPerSequence(args) * args.tile_prefix[args.batch.sequences];
}
// Never more than there are units, so that no share between two others is empty; warps from there on have nothing to do.
POLARKV_HOST_DEVICE inline uint64_t BusyWarps(const AttentionArgs& args, uint64_t units) {
  return args.warps < units ? args.warps : units;
}
// `warp` is at most BusyWarps.
POLARKV_HOST_DEVICE inline uint64_t FirstUnitOfWarp(const AttentionArgs& args, uint64_t units, uint32_t warp) {
  return units * warp / BusyWarps(args, units);
}
POLARKV_HOST_DEVICE inline uint32_t WarpOfUnit(const AttentionArgs& args, uint64_t units, uint64_t unit) {
  return static_cast<uint32_t>(((unit + 1) * BusyWarps(args, units) - 1) / units);
}
// Where a warp leaves its share of a line: warps and lines both ascend along the units, so no two shares collide.
POLARKV_HOST_DEVICE inline uint64_t PartialSlot(uint32_t warp, uint64_t line) { return warp + line; }
// The raw tokens of a line have a slot after all those.
POLARKV_HOST_DEVICE inline uint64_t RawSlot(const AttentionArgs& args, uint64_t line) {
  return args.warps + LinesPerSequence(args) * args.batch.sequences + line;
}
POLARKV_HOST_DEVICE inline uint64_t PartialSlots(uint32_t warps, uint64_t lines) { return warps + 2 * lines; }

// A place on the line of units.
struct UnitCursor {
  uint32_t sequence, kv_head, pass, tile;
  uint32_t tiles;  // of the sequence

  POLARKV_HOST_DEVICE static UnitCursor At(const AttentionArgs& args, uint64_t unit) {
    // The last sequence that does not begin after the unit; of empty ones that begin there, the last, which is not empty.
    uint32_t low = 0, high = args.batch.sequences - 1;
    const uint64_t lines = LinesPerSequence(args);
    while (low < high) {
      const uint32_t middle = (low + high + 1) / 2;
      if (lines * args.tile_prefix[middle] <= unit) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    UnitCursor cursor;
    cursor.sequence = low;
    cursor.tiles = args.SequenceTiles(low);
    const uint64_t rest = unit - lines * args.tile_prefix[low];
    cursor.tile = static_cast<uint32_t>(rest % cursor.tiles);
    const auto line = static_cast<uint32_t>(rest / cursor.tiles);
    cursor.kv_head = line / args.passes;
    cursor.pass = line % args.passes;
    return cursor;
  }

  POLARKV_HOST_DEVICE uint64_t Line(const AttentionArgs& args) const {
    return sequence * LinesPerSequence(args) + uint64_t{kv_head} * args.passes + pass;
  }

  // To the next unit, which must exist.
  POLARKV_HOST_DEVICE void Advance(const AttentionArgs& args) {
    if (++tile < tiles) return;
    tile = 0;
    if (++pass < args.passes) return;
    pass = 0;
    if (++kv_head < args.batch.kv_heads) return;
    kv_head = 0;
    do {
      tiles = args.SequenceTiles(++sequence);
    } while (tiles == 0);
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ATTENTION_PLAN_H_
