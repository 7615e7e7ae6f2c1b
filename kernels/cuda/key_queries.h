// Queries as keys that are neither turbo nor trellis codes meet them, one column (row of queries) of a warp's at a time.
#ifndef POLARKV_KERNELS_CUDA_KEY_QUERIES_H_
#define POLARKV_KERNELS_CUDA_KEY_QUERIES_H_

#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/row_rotation.h"

namespace polarkv::cuda {

// A row -> its projection `index`, not normalised: kDim times as long.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void Project(const AttentionArgs& args, int index, RowFragment<W, kDim>& row) {
  POLARKV_UNROLL
  for (int factor = 0; factor < 2; ++factor) {
    ApplySigns<W, kDim>(args.projection_signs[index][factor], row);
    Hadamard<W, kDim>(row);
  }
}

template <class W, int kDim>
POLARKV_WARP_FUNCTION typename W::F32 LargestOf(const RowFragment<W, kDim>& row) {
  typename W::F32 largest = 1e-30f;
  POLARKV_UNROLL
  for (int i = 0; i < kDim / 8; ++i) {
    const auto& x = row.x[i / 8][i / 4 % 2][i % 4];
    largest = W::Max(largest, W::Max(x, -x));
  }
  return MaxOverRow<W>(largest);
}

// `row`: rotated, times 1 / divisor. Its projections as int8, all with one scale.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void StoreSignQuery(const AttentionArgs& args, uint64_t first_row, typename W::U32 lane_row,
                                          const RowFragment<W, kDim>& row, typename W::F32 divisor) {
  using F32 = typename W::F32;
  using U32 = typename W::U32;
  const int projections = BitsOfKind(args.key_kind);
  F32 largest = 1e-30f;
  for (int index = 0; index < projections; ++index) {
    RowFragment<W, kDim> projected = row;
    Project<W, kDim>(args, index, projected);
    largest = W::Max(largest, LargestOf<W, kDim>(projected));
  }
  const F32 to_int = W::Divide(F32(127.0f), largest);
  auto* const rows = reinterpret_cast<int8_t*>(args.key_queries + first_row * args.key_query_bytes);
  for (int index = 0; index < projections; ++index) {
    RowFragment<W, kDim> projected = row;
    Project<W, kDim>(args, index, projected);
    StoreRounded<W, kDim>(rows, lane_row * args.key_query_bytes + static_cast<uint32_t>(index * kDim), projected, to_int);
  }
  W::StoreFloatIf(U32(4u) > W::Lane(), args.key_query_scales + first_row, lane_row,
                  largest * (1.0f / 127.0f) * (divisor * args.key_query_unit));
}

// The coordinate that is the first or second, by bit 0 of `x`, of pair x / 2 (PairOf of codec/polar_coordinates.h).
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 CoordinateOfPair(const AttentionArgs& args, typename W::U32 x) {
  using U32 = typename W::U32;
  const uint32_t half = args.pair_dims / 2;
  const U32 pair = x >> 1, second = x & 1u;
  const U32 beyond = pair + half + second * ((args.head_dim - args.pair_dims) / 2);
  return W::Select(U32(half) > pair, args.pairs_interleaved ? x : pair + second * half, beyond);
}

// Pairs of fp16 in the order that polar_keys.h reads. `place`: of the row, as PrepareRows has it; `magnitude`: its largest.
template <class W, int kDim, ElementType kType, class Place>
POLARKV_WARP_FUNCTION void StorePolarQuery(const AttentionArgs& args, uint64_t first_row, typename W::U32 lane_row,
                                           const Place& place, typename W::F32 magnitude) {
  using F32 = typename W::F32;
  using U32 = typename W::U32;
  // To a largest coordinate in [1, 2), exactly; far larger ones stay within fp16.
  const U32 binade = W::AsU32(W::Min(magnitude, F32(0x1p125f))) & 0x7F800000u;
  const F32 inverse = W::FloatOfBits(U32(0x7F000000u) - binade);
  const auto element = place.element - W::Wide(W::Lane() & 28u);
  uint8_t* const rows = args.key_queries + first_row * args.key_query_bytes;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 32; ++i) {
    POLARKV_UNROLL
    for (uint32_t word = 0; word < 4; word += 2) {
      const U32 first = (W::Lane() & 28u) + (32 * i + word), pair = first >> 1;
      F32 x[2];
      POLARKV_UNROLL
      for (uint32_t second = 0; second < 2; ++second) {
        const U32 coordinate = CoordinateOfPair<W>(args, first + second);
        x[second] = W::template LoadElement<kType>(place.valid, args.batch.q, element + W::Wide(coordinate)) * inverse;
      }
      const U32 at = (pair & 3u) * static_cast<uint32_t>(kDim / 8) + (pair >> 2);
      W::StoreWordIf(typename W::Bool(true), rows, lane_row * static_cast<uint32_t>(2 * kDim) + (at << 2),
                     W::template PackElements<ElementType::kF16>(x[0], x[1]));
    }
  }
  W::StoreFloatIf(U32(4u) > W::Lane(), args.key_query_scales + first_row, lane_row,
                  W::FloatOfBits(binade) * args.key_query_unit);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_KEY_QUERIES_H_
