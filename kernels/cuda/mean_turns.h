// The directions by which RoPE turns means and keys, once for all layers and heads of a launch: the rows of
// MeanArgs::turns.
#ifndef POLARKV_KERNELS_CUDA_MEAN_TURNS_H_
#define POLARKV_KERNELS_CUDA_MEAN_TURNS_H_

#include "kernels/cuda/mean_args.h"
#include "kernels/cuda/rope_turn.h"

namespace polarkv::cuda {

POLARKV_WARP_FUNCTION uint32_t TurnRows(const EncodeArgs& args) {
  return 2 + args.blocks * args.tiles_per_block * kTileTokens;
}

// By one warp.
template <class W>
POLARKV_WARP_FUNCTION void StoreTurns(const EncodeArgs& args, const MeanArgs& means, uint32_t row) {
  using U32 = typename W::U32;
  const uint32_t block_tokens = args.tiles_per_block * kTileTokens;
  uint64_t position = row == 0 ? 1 : kLongStride;
  if (row >= 2) position = args.places[(row - 2) / block_tokens].first_position + (row - 2) % block_tokens;
  float* const out = means.turns + uint64_t{row} * (2 * means.pairs);
  const auto* const phases = reinterpret_cast<const uint8_t*>(means.phases);
  for (uint32_t first = 0; first < means.pairs; first += 32) {
    const U32 p = W::Lane() + first;
    const auto active = U32(means.pairs) > p;
    const U32 pair = W::Select(active, p, U32(0u));
    const Turn<W> turn =
        TurnOf<W>(UpperTurns<W>(W::LoadWord(phases, pair * 8u), W::LoadWord(phases, pair * 8u + 4u),
                                U32(static_cast<uint32_t>(position)), U32(static_cast<uint32_t>(position >> 32))));
    W::StoreFloatIf(active, out, pair, turn.cosine);
    W::StoreFloatIf(active, out + means.pairs, pair, turn.sine);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MEAN_TURNS_H_
