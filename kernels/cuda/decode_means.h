// Key means of the tokens that are coded without them, as decoders add them: turned to each token's position with the
// reference's bits, by way of a warp's shared memory, because RoPE's pairs need not be in one lane's chunks.
#ifndef POLARKV_KERNELS_CUDA_DECODE_MEANS_H_
#define POLARKV_KERNELS_CUDA_DECODE_MEANS_H_

#include "codec/block_format.h"
#include "kernels/cuda/decode_args.h"
#include "kernels/cuda/float_power.h"
#include "kernels/cuda/rope_turn.h"
#include "kernels/cuda/row_stage.h"

namespace polarkv::cuda {

// The tokens among a quarter's 16 whose keys lack the mean.
template <class W>
struct QuarterMeans {
  bool any = false;
  typename W::Bool marked = false;
};

template <class W>
POLARKV_WARP_FUNCTION QuarterMeans<W> FindMeans(const TileHead& head, const uint8_t* record, uint32_t quarter) {
  using U32 = typename W::U32;
  const auto here = static_cast<uint32_t>((head.k_mean & ~head.k_escapes) >> (16 * quarter) & 0xFFFF);
  QuarterMeans<W> means;
  means.any = record != nullptr && here != 0;
  means.marked = (W::ShiftRight(U32(here), QuarterToken<W>()) & 1u) > U32(0u);
  return means;
}

template <int kDim>
using MeanRows = RowStage<kDim, ElementType::kF32>;

// A lane has every 32nd pair, of all tokens. `first`: the position of the quarter's first token.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void TurnMeans(const KeyMeanTurns& turns, const uint8_t* record, uint64_t first, uint8_t* stage) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  const typename W::I32 power = reinterpret_cast<const VectorRecordHead*>(record)->exponent;
  const auto* const phases = reinterpret_cast<const uint8_t*>(turns.phases);
  const auto number = [&](U32 at) {
    const U32 half = W::LoadShort(record + sizeof(VectorRecordHead), at * 2u);
    const F32 x = TimesPower<W>(W::LowHalf(half), F32(1.0f), power);
    return F32(W::Max(W::Min(x, F32(0x1.FFFFFEp127f)), F32(-0x1.FFFFFEp127f)));
  };
  for (uint32_t i = 0; i < kDim / 64; ++i) {
    const U32 pair = W::Lane() + 32 * i;
    const PairPlace<W> place(turns.interleaved, turns.rope_dims, kDim, pair);
    const F32 a = number(place.first), b = number(place.second);
    const U32 low = W::LoadWord(phases, pair * 8u), high = W::LoadWord(phases, pair * 8u + 4u);
    // Beyond RoPE's coordinates not even the sign of a zero changes.
    const auto turned = U32(turns.rope_dims / 2) > pair;
    POLARKV_UNROLL_BY(4)
    for (uint32_t token = 0; token < kQuarterTokens; ++token) {
      const uint64_t position = first + token;
      F32 x = a, y = b;
      TurnPair<W>(TurnOf<W>(UpperTurns<W>(low, high, U32(static_cast<uint32_t>(position)),
                                          U32(static_cast<uint32_t>(position >> 32)))),
                  x, y);
      const uint32_t row = token * MeanRows<kDim>::kStride;
      W::StoreWordIf(true, stage, place.first * 4u + row, W::AsU32(W::Select(turned, x, a)));
      W::StoreWordIf(true, stage, place.second * 4u + row, W::AsU32(W::Select(turned, y, b)));
    }
  }
  W::Sync();
}

// To the lane's chunk number i, where its token lacks the mean.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void AddMeans(const QuarterMeans<W>& means, uint32_t i, uint8_t* stage,
                                    typename W::F32 (&x)[16]) {
  using F32 = typename W::F32;
  const F32 limit = 0x1.FFFFFEp127f, below = -0x1.FFFFFEp127f;
  F32 mean[16];
  StagedRow<W, kDim, ElementType::kF32>(stage).Load(i, mean);
  POLARKV_UNROLL
  for (uint32_t c = 0; c < 16; ++c) {
    // What the codes say is a float before the mean is added.
    const F32 coded = W::Max(W::Min(x[c], limit), below);
    x[c] = W::Select(means.marked, coded + mean[c], x[c]);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DECODE_MEANS_H_
