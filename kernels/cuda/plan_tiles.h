// Lengths -> prefix sums of tiles, by one warp: an inclusive sum over all sequences, 32 at a time. A sequence has up to 2^32 - 1
// tokens, all of a launch have fewer than 2^32 tiles together.
#ifndef POLARKV_KERNELS_CUDA_PLAN_TILES_H_
#define POLARKV_KERNELS_CUDA_PLAN_TILES_H_

#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

template <class W>
POLARKV_WARP_FUNCTION void PlanTiles(const AttentionArgs& args) {
  using U32 = typename W::U32;
  auto* const prefix = reinterpret_cast<uint8_t*>(args.tile_prefix);
  W::StoreWordIf(U32(1u) > W::Lane(), prefix, U32(0u), U32(0u));
  U32 before = 0u;
  for (uint32_t first = 0; first < args.batch.sequences; first += 32) {
    const U32 sequence = W::Lane() + first;
    const auto there = U32(args.batch.sequences) > sequence;
    const U32 tokens =
        W::BitsOf(W::LoadIntIf(there, reinterpret_cast<const int32_t*>(args.batch.tokens), W::Wide(sequence)));
    // `total`: of the 2, 4, .. lanes that the lane has been joined with; `sum`: of those among them up to it.
    U32 total = (tokens >> 6) + W::Select((tokens & 63u) > U32(0u), U32(1u), U32(0u)), sum = total;
    POLARKV_UNROLL
    for (uint32_t step = 1; step < 32; step *= 2) {
      const U32 others = W::ShuffleXor(total, static_cast<int>(step));
      sum = sum + W::Select((W::Lane() & step) > U32(0u), others, U32(0u));
      total = total + others;
    }
    W::StoreWordIf(there, prefix, (sequence + 1u) * 4u, before + sum);
    before = before + total;
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_PLAN_TILES_H_
