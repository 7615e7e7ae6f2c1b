// What means change for the encoders' kernels. Keys of a launch with means are staged as floats without them, whatever
// the rows' type: by the kernels for keys of fp32, which then read the rows themselves.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_KEYS_H_
#define POLARKV_KERNELS_CUDA_ENCODE_KEYS_H_

#include "kernels/cuda/encode_tile.h"
#include "kernels/cuda/mean_stage.h"

namespace polarkv::cuda {

// The type as which a launch stages one side's rows.
inline ElementType StagedType(const EncodeArgs& args, const MeanArgs& means) {
  return args.side == 0 && means.source != MeanSource::kNone ? ElementType::kF32 : args.rows.type;
}

// Whether the kernels that stage a side's rows as this type may have to take means off.
template <ElementType kType, int kSide>
inline constexpr bool kTakesMeansOff = kType == ElementType::kF32 && kSide == 0;

// In place of a copy of the quarter's rows, where there are means. scratch.rows has them.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void StageKeysWithoutMean(const EncodeArgs& args, const MeanArgs& means, const EncodeCursor& at,
                                                uint64_t counted, uint32_t quarter, uint8_t* stage,
                                                TileScratch& scratch) {
  const uint32_t first = quarter * kQuarterTokens;
  const QuarterMean mean{MeanRow(args, means, kDim, at.block, at.layer, at.head),
                         TileTurns(args, means, at.block, at.tile) + first * (2 * means.pairs)};
  const uint32_t taken = StageQuarterWithoutMean<W, kDim>(args.rows.type, means, mean, scratch.rows + first,
                                                          static_cast<uint32_t>(counted >> first & 0xFFFF), stage);
  W::StoreOnce(&scratch.without_mean[quarter], taken);
  W::Sync();
}

// For the tile's end, once all quarters are staged.
template <int kDim>
POLARKV_WARP_FUNCTION TileMeans TileMeansOf(const EncodeArgs& args, const MeanArgs& means, const EncodeCursor& at,
                                            const TileScratch& scratch) {
  TileMeans tile;
  if (means.source == MeanSource::kNone) return tile;
  POLARKV_UNROLL
  for (uint32_t quarter = 0; quarter < kQuarters; ++quarter) {
    tile.tokens |= uint64_t{scratch.without_mean[quarter]} << (quarter * kQuarterTokens);
  }
  const bool has = AreOwn(means.source) && MeanRow(args, means, kDim, at.block, at.layer, at.head)[kDim + 1] != 0;
  tile.has_means = has ? 1 : 0;
  return tile;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_KEYS_H_
