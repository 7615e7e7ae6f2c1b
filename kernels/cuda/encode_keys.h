// A quarter of a tile's keys that lose their head's mean: rows where the caller has them -> words of the tile's planes.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_KEYS_H_
#define POLARKV_KERNELS_CUDA_ENCODE_KEYS_H_

#include "kernels/cuda/encode_tile.h"
#include "kernels/cuda/mean_stage.h"

namespace polarkv::cuda {

// `stage`: of RowStage<kDim, kF32>; scratch.rows has the quarter's rows. Returns which of its tokens lost the mean.
template <class W, int kDim, int kKind>
POLARKV_WARP_FUNCTION uint32_t EncodeKeysQuarter(const EncodeArgs& args, const MeanArgs& means,
                                                 const PermuteTables<kKind>& tables, const EncodeCursor& at,
                                                 const TileTask& task, uint32_t quarter, uint8_t* stage,
                                                 TileScratch& scratch) {
  const EncodedPlace& place = args.places[at.block];
  const uint32_t first = quarter * kQuarterTokens;
  const uint64_t counted = LowestTokens(task.tokens) & ~LowestTokens(task.raw);
  const QuarterMean mean{MeanRow(args, means, kDim, at.block, at.layer, at.head),
                         TileTurns(args, means, at.block, at.tile) + first * (2 * means.pairs)};
  const uint32_t taken = StageQuarterWithoutMean<W, kDim>(args.rows.type, means, mean, scratch.rows + first,
                                                          static_cast<uint32_t>(counted >> first & 0xFFFF), stage);
  W::Sync();
  EncodeQuarter<W, kDim, ElementType::kF32, kKind, 0>(args, tables, quarter, counted, stage,
                                                      FindSidePlanes<kDim>(args, place, at, task), scratch);
  return taken;
}

// `taken`: by quarters.
template <int kDim>
POLARKV_WARP_FUNCTION TileMeans TileMeansOf(const EncodeArgs& args, const MeanArgs& means, const EncodeCursor& at,
                                            const uint32_t (&taken)[kQuarters]) {
  TileMeans tile;
  POLARKV_UNROLL
  for (uint32_t quarter = 0; quarter < kQuarters; ++quarter) {
    tile.tokens |= uint64_t{taken[quarter]} << (quarter * kQuarterTokens);
  }
  const bool has = AreOwn(means.source) && MeanRow(args, means, kDim, at.block, at.layer, at.head)[kDim + 1] != 0;
  tile.has_means = has ? 1 : 0;
  return tile;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_KEYS_H_
