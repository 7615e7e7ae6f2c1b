// What a warp leaves of a line for the merge: unfinished output, references and sums of eight rows.
#ifndef POLARKV_KERNELS_CUDA_PARTIAL_RESULT_H_
#define POLARKV_KERNELS_CUDA_PARTIAL_RESULT_H_

#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/row_rotation.h"
#include "kernels/cuda/tile_attention.h"

namespace polarkv::cuda {

// `eight`: number of the slot x row groups + the eight rows among them. All lanes' shares of the sums are added up.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void StorePartial(const AttentionArgs& args, uint64_t eight, const OutputState<W, kDim>& state) {
  float* const output = args.partial_output + eight * (8 * kDim);
  POLARKV_UNROLL
  for (int i = 0; i < kDim / 64 * 16; ++i) {
    W::StoreFloat(output + 32 * i, W::Lane(), state.o[i / 16][i / 4 % 4][i % 4]);
  }
  float* const facts = args.partial_state + eight * 16;
  POLARKV_UNROLL
  for (uint32_t column = 0; column < 2; ++column) {
    const auto first = typename W::U32(4u) > W::Lane();
    W::StoreFloatIf(first, facts, W::Lane() * 2u + column, state.reference[column]);
    W::StoreFloatIf(first, facts + 8, W::Lane() * 2u + column, SumOverRow<W>(state.sum[column]));
  }
}

// Adds such a result to another.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void AddPartial(const AttentionArgs& args, uint64_t eight, OutputState<W, kDim>& total) {
  using F32 = typename W::F32;
  const float* const facts = args.partial_state + eight * 16;
  F32 keep[2], weight[2];
  POLARKV_UNROLL
  for (uint32_t column = 0; column < 2; ++column) {
    const typename W::U32 place = (W::Lane() & 3u) * 2u + column;
    const F32 reference = W::LoadFloat(facts, place);
    const F32 sum = W::LoadFloat(facts + 8, place);
    const F32 top = W::Max(reference, total.reference[column]);
    keep[column] = W::Exp2(total.reference[column] - top);
    weight[column] = W::Exp2(reference - top);
    total.reference[column] = top;
    total.sum[column] = W::Fma(sum, weight[column], total.sum[column] * keep[column]);
  }
  const float* const output = args.partial_output + eight * (8 * kDim);
  POLARKV_UNROLL
  for (int i = 0; i < kDim / 64 * 16; ++i) {
    F32& o = total.o[i / 16][i / 4 % 4][i % 4];
    o = W::Fma(W::LoadFloat(output + 32 * i, W::Lane()), weight[i % 2], o * keep[i % 2]);
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_PARTIAL_RESULT_H_
