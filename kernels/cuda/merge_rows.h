// The partial results of eight rows -> their output and log-sum-exp, one warp for eight rows. The shares are added in the
// order of the warps that left them, the raw tokens last, so that the same input gives the same bits.
#ifndef POLARKV_KERNELS_CUDA_MERGE_ROWS_H_
#define POLARKV_KERNELS_CUDA_MERGE_ROWS_H_

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/partial_result.h"
#include "kernels/cuda/query_rows.h"
#include "kernels/cuda/row_rotation.h"

namespace polarkv::cuda {

template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION void MergeRows(const AttentionArgs& args, uint32_t index) {
  using F32 = typename W::F32;
  const RowsOfHead rows = RowsOfHead::At(args, index);
  OutputState<W, kDim> total;
  total.Clear();
  const uint32_t tiles = args.SequenceTiles(rows.sequence);
  if (tiles > 0) {
    const uint64_t line = rows.sequence * LinesPerSequence(args) + uint64_t{rows.kv_head} * args.passes +
                          rows.eight / args.row_groups;
    const uint64_t first = LinesPerSequence(args) * args.tile_prefix[rows.sequence] +
                           (uint64_t{rows.kv_head} * args.passes + rows.eight / args.row_groups) * tiles;
    const uint64_t units = UnitCount(args);
    const uint32_t last_warp = WarpOfUnit(args, units, first + tiles - 1);
    for (uint32_t warp = WarpOfUnit(args, units, first); warp <= last_warp; ++warp) {
      AddPartial<W, kDim>(args, PartialSlot(warp, line) * args.row_groups + rows.eight % args.row_groups, total);
    }
    AddPartial<W, kDim>(args, RawSlot(args, line) * args.row_groups + rows.eight % args.row_groups, total);
  }
  POLARKV_UNROLL
  for (int column = 0; column < 2; ++column) {
    const ColumnPlace<W> place(args, rows, args.batch.o_stride, column);
    const auto empty = F32(1e-30f) > total.sum[column];
    const F32 unit = W::Select(empty, F32(0.0f), W::Divide(F32(args.output_unit), W::Max(total.sum[column], F32(1e-30f))));
    RowFragment<W, kDim> row;
    POLARKV_UNROLL
    for (int i = 0; i < kDim / 64 * 8; ++i) {
      row.x[i / 8][i / 4 % 2][i % 4] = total.o[i / 8][i % 4][2 * (i / 4 % 2) + column] * unit;
    }
    Hadamard<W, kDim>(row);
    ApplySigns<W, kDim>(args.signs, row);
    POLARKV_UNROLL
    for (int i = 0; i < kDim / 8; ++i) {
      W::template StoreElement<kType>(place.valid, args.batch.o, place.element + int64_t{i / 4 * 32 + i % 4},
                                      row.x[i / 8][i / 4 % 2][i % 4]);
    }
    const F32 lse = W::Select(empty, F32(-INFINITY),
                              (total.reference[column] + W::Log2(W::Max(total.sum[column], F32(1e-30f)))) *
                                  0.693147181f);
    W::template StoreElement<ElementType::kF32>(W::And(place.valid, typename W::U32(4u) > W::Lane()), args.batch.lse,
                                                place.lse, lse);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MERGE_ROWS_H_
