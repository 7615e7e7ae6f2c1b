// A quarter of a tile's keys without their head's mean, in the stage of row_stage.h, as floats whatever the rows' type:
// the reference's TakeMeanOff (codec/key_mean.h) to the bit.
#ifndef POLARKV_KERNELS_CUDA_MEAN_STAGE_H_
#define POLARKV_KERNELS_CUDA_MEAN_STAGE_H_

#include "kernels/cuda/mean_args.h"
#include "kernels/cuda/packed_rotation.h"

namespace polarkv::cuda {

// The mean of one head, and a quarter of a tile's directions.
struct QuarterMean {
  const float* row;    // MeanRowFloats
  const float* turns;  // of the quarter's first token
};

// The mean turned to the positions of the quarter's tokens, [token][head_dim] in the stage. Lanes are pairs. No product
// here leaves the floats' range, means being ordinary ones.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void StageTurnedMean(const MeanArgs& means, const QuarterMean& mean, uint8_t* stage) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  constexpr uint32_t kStride = RowStage<kDim, ElementType::kF32>::kStride / sizeof(float);
  auto* const to = reinterpret_cast<float*>(stage);
  const uint32_t pairs = means.pairs;
  for (uint32_t first = 0; first < pairs; first += 32) {
    const U32 p = W::Lane() + first;
    const auto active = U32(pairs) > p;
    const U32 pair = W::Select(active, p, U32(0u));
    const U32 at = means.interleaved ? pair * 2u : pair;
    const U32 partner = means.interleaved ? at + 1u : at + pairs;
    const F32 a = W::LoadFloat(mean.row, at), b = W::LoadFloat(mean.row, partner);
    POLARKV_UNROLL
    for (uint32_t t = 0; t < kQuarterTokens; ++t) {
      const F32 cosine = W::LoadFloat(mean.turns + t * (2 * pairs), pair);
      const F32 sine = W::LoadFloat(mean.turns + t * (2 * pairs) + pairs, pair);
      W::StoreFloatIf(active, to + t * kStride, at, W::Fma(cosine, a, -(sine * b)));
      W::StoreFloatIf(active, to + t * kStride, partner, W::Fma(sine, a, cosine * b));
    }
  }
  for (uint32_t first = 2 * pairs; first < kDim; first += 32) {
    const U32 j = W::Lane() + first;
    const auto active = U32(kDim) > j;
    const F32 same = W::LoadFloat(mean.row, W::Select(active, j, U32(0u)));
    for (uint32_t t = 0; t < kQuarterTokens; ++t) W::StoreFloatIf(active, to + t * kStride, j, same);
  }
}

// A lane's share of a row where the caller has it.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION void LoadKeys(const uint8_t* const* rows, uint32_t chunk, typename W::F32 (&x)[16]) {
  constexpr uint32_t kBytes = ElementBytes(kType);
  POLARKV_UNROLL
  for (uint32_t v = 0; v < kBytes; ++v) {
    const auto at = ChunkParity<W>() * (16 * kBytes) + (chunk * 32 * kBytes + 16 * v);
    StagedRow<W, kDim, kType>::Unpack(W::LoadRowVector(rows, QuarterToken<W>(), at), v, x);
  }
}

// Whether each lane's key gets shorter without the mean, which is in the stage.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION typename W::Bool IsShorterWithout(const StagedRow<W, kDim, ElementType::kF32>& turned,
                                                        const uint8_t* const* rows, float half_square) {
  using F32 = typename W::F32;
  F32 partial[16];
  POLARKV_UNROLL
  for (F32& sum : partial) sum = 0.0f;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 32; ++i) {
    F32 x[16], m[16];
    LoadKeys<W, kDim, kType>(rows, i, x);
    turned.Load(i, m);
    POLARKV_UNROLL
    for (uint32_t c = 0; c < 16; ++c) partial[c] = W::Fma(x[c], m[c], partial[c]);
  }
  return SumOfPartials<W>(partial) > F32(half_square);
}

// rows[token] of the quarter: null for a row of zeros. Returns the tokens that lost the mean, of those of `counted`.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION uint32_t StageResiduals(const MeanArgs& means, const QuarterMean& mean,
                                              const uint8_t* const* rows, uint32_t counted, uint8_t* stage) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  const StagedRow<W, kDim, ElementType::kF32> staged(stage);
  const float half_square = mean.row[kDim];
  const bool takes = half_square <= 0x1p127f;
  typename W::Bool taken = U32(0u) > U32(0u);
  if (takes) {
    StageTurnedMean<W, kDim>(means, mean, stage);
    W::Sync();
    const auto counts = (W::ShiftRight(U32(counted), QuarterToken<W>()) & 1u) > U32(0u);
    taken = W::And(counts, IsShorterWithout<W, kDim, kType>(staged, rows, half_square));
  }
  const U32 at = QuarterToken<W>() * RowStage<kDim, ElementType::kF32>::kStride + ChunkParity<W>() * 64u;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 32; ++i) {
    F32 x[16];
    LoadKeys<W, kDim, kType>(rows, i, x);
    if (takes) {
      F32 m[16];
      staged.Load(i, m);
      POLARKV_UNROLL
      for (uint32_t c = 0; c < 16; ++c) x[c] = W::Select(taken, x[c] - m[c], x[c]);
    }
    POLARKV_UNROLL
    for (uint32_t v = 0; v < 4; ++v) {
      W::StoreVectorIf(true, stage, at + (128 * i + 16 * v),
                       {{W::AsU32(x[4 * v]), W::AsU32(x[4 * v + 1]), W::AsU32(x[4 * v + 2]), W::AsU32(x[4 * v + 3])}});
    }
  }
  return W::Ballot(taken) & 0xFFFFu;
}

template <class W, int kDim>
POLARKV_WARP_FUNCTION uint32_t StageQuarterWithoutMean(ElementType type, const MeanArgs& means, const QuarterMean& mean,
                                                       const uint8_t* const* rows, uint32_t counted, uint8_t* stage) {
  if (type == ElementType::kF16) {
    return StageResiduals<W, kDim, ElementType::kF16>(means, mean, rows, counted, stage);
  }
  if (type == ElementType::kBF16) {
    return StageResiduals<W, kDim, ElementType::kBF16>(means, mean, rows, counted, stage);
  }
  return StageResiduals<W, kDim, ElementType::kF32>(means, mean, rows, counted, stage);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MEAN_STAGE_H_
