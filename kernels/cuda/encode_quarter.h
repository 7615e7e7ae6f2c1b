// A quarter of a tile, 16 tokens of one side, by one warp: rows in its shared memory -> words of the tile's planes, and
// what the tile's end (finish_tile.h) needs of each token.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_QUARTER_H_
#define POLARKV_KERNELS_CUDA_ENCODE_QUARTER_H_

#include "kernels/cuda/code_products.h"
#include "kernels/cuda/encode_args.h"
#include "kernels/cuda/finish_tile.h"
#include "kernels/cuda/packed_rotation.h"
#include "kernels/cuda/quarter_planes.h"
#include "kernels/cuda/trellis_quarter.h"
#include "kernels/cuda/turbo_levels.h"

namespace polarkv::cuda {

// From the products to the token's scale and error.
template <class W, int kSide>
POLARKV_WARP_FUNCTION void RecordToken(const EncodeArgs& args, const RowFacts<W>& facts,
                                       const CodeProducts<W>& products, typename W::Bool counted, typename W::U32 token,
                                       TileScratch& scratch) {
  using F32 = typename W::F32;
  using I32 = typename W::I32;
  const F32 with_row = W::ToFloat(products.with_row), with_itself = W::ToFloat(products.with_itself);
  F32 scale, error;
  if constexpr (kSide == 0) {
    scale = W::DivideRounded(facts.norm * F32(args.rotated_norm), with_row);
    const F32 ratio = W::DivideRounded(F32(args.rotated_norm), with_row);
    error = ratio * ratio * with_itself - F32(1.0f);
  } else {
    const F32 length = W::SquareRoot(with_itself);
    scale = W::DivideRounded(facts.norm, length);
    error = F32(2.0f) - W::DivideRounded(with_row * F32(2.0f), length * F32(args.rotated_norm));
  }
  // Codes that are of no use to a token have the scale 0, and so does the zero vector.
  const auto useful = (kSide == 0 ? products.with_row : products.with_itself) > I32(0);
  error = W::Select(useful, error, F32(1.0f));
  const auto coded = W::And(W::And(counted, facts.finite), facts.norm > F32(0.0f));
  const auto scaled = W::And(coded, useful);
  const I32 step = ScaleStepOf<W>(args.octave, scale, facts.exponent);
  // Near the ends of the floats' range what is read back is rounded or saturated as this estimate does not know.
  const auto ordinary =
      W::And(W::And(facts.exponent > I32(-100), I32(125) > facts.exponent), F32(args.most_error) > error);
  const auto doubtful = W::And(coded, W::Not(ordinary));
  W::StoreInt(scratch.step, token, W::Select(scaled, step, I32(kNoScale)));
  W::StoreInt(scratch.state, token,
              W::Select(facts.finite, W::Select(doubtful, I32(kDoubtful), I32(0)), I32(kNotFinite)));
}

// Turbo codes of the rotated row, to their planes.
template <class W, int kDim, ElementType kType, int kKind, int kSide>
POLARKV_WARP_FUNCTION CodeProducts<W> EncodeTurbo(const EncodeArgs& args, const PermuteTables<kKind>& tables,
                                                  uint32_t quarter, typename W::Bool counts, uint8_t* stage,
                                                  const SidePlanes& planes, const PackedRow<W, kDim>& row) {
  using U32 = typename W::U32;
  const U32 keep = W::Select(counts, U32(0xFFFFFFFFu), U32(0u));
  QuarterPlanes<W, kDim, kType, kKind, kSide> out(planes, quarter, stage, keep);
  CodeProducts<W> products;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < PackedRow<W, kDim>::kChunks; ++i) {
    U32 y[8];
    POLARKV_UNROLL
    for (uint32_t k = 0; k < 8; ++k) y[k] = (row.v[i][k] + 0x80008000u) ^ 0x80008000u;
    out.Add(i, y, args, tables, products);
  }
  out.Finish();
  return products;
}

// `stage` holds the quarter's rows; it is overwritten. `counted`: tokens of the tile that are coded.
template <class W, int kDim, ElementType kType, int kKind, int kSide>
POLARKV_WARP_FUNCTION void EncodeQuarter(const EncodeArgs& args, const PermuteTables<kKind>& tables, uint32_t quarter,
                                         uint64_t counted, uint8_t* stage, const SidePlanes& planes,
                                         TileScratch& scratch) {
  using U32 = typename W::U32;
  const StagedRow<W, kDim, kType> staged(stage);
  SignedRow<W, kDim> with_signs;
  const RowFacts<W> facts = MeasureRow<W, kDim, kType>(staged, args.signs, with_signs);
  PackedRow<W, kDim> row;
  RoundRow<W, kDim, kType>(with_signs, facts, args.gain, row);
  HadamardPacked<W, kDim>(row);

  const auto counted16 = static_cast<uint32_t>(counted >> (16 * quarter) & 0xFFFF);
  const auto counts = (W::ShiftRight(U32(counted16), QuarterToken<W>()) & 1u) > U32(0u);
  W::Sync();  // all rows have been read
  CodeProducts<W> products;
  if constexpr (IsTrellisKind(kKind)) {
    const TrellisQuarter<W, kDim, kType, kKind, kSide> codes(args, planes, quarter, counted16, stage, scratch);
    products = codes.Encode(row, tables);
  } else {
    products = EncodeTurbo<W, kDim, kType, kKind, kSide>(args, tables, quarter, counts, stage, planes, row);
  }
  SumOverToken<W>(products);
  RecordToken<W, kSide>(args, facts, products, counts, QuarterToken<W>() + 16 * quarter, scratch);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_QUARTER_H_
