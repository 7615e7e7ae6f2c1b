// Rows of two attention results -> those of both. A warp takes as many rows as have room in it, eight elements a lane, so that all
// who read a row's log-sum-exp are of the warp that overwrites it.
#ifndef POLARKV_KERNELS_CUDA_MERGE_RESULTS_H_
#define POLARKV_KERNELS_CUDA_MERGE_RESULTS_H_

#include "kernels/cuda/merge.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

POLARKV_HOST_DEVICE constexpr uint32_t LanesOfRow(uint32_t head_dim) { return head_dim / 8; }
POLARKV_HOST_DEVICE constexpr uint32_t RowsOfWarp(uint32_t head_dim) { return 32 / LanesOfRow(head_dim); }
POLARKV_HOST_DEVICE constexpr uint32_t RowCount(const MergeBatch& batch) {
  return batch.sequences * batch.queries * batch.heads;
}
// How many share a merge.
POLARKV_HOST_DEVICE constexpr uint32_t MergeWarps(const MergeBatch& batch) {
  return (RowCount(batch) + RowsOfWarp(batch.head_dim) - 1) / RowsOfWarp(batch.head_dim);
}

// Each lane's row, and which eight of its elements.
template <class W>
struct MergePlace {
  typename W::Bool valid;
  typename W::I64 sequence, query, head, element;

  POLARKV_WARP_FUNCTION MergePlace(const MergeBatch& batch, uint32_t warp) {
    using U32 = typename W::U32;
    const U32 in_warp = W::Lane() / LanesOfRow(batch.head_dim);
    const U32 row = in_warp + warp * RowsOfWarp(batch.head_dim);
    const U32 token = row / batch.heads, first = token / batch.queries;
    valid = W::And(U32(RowsOfWarp(batch.head_dim)) > in_warp, U32(RowCount(batch)) > row);
    sequence = W::Wide(first);
    query = W::Wide(token - first * batch.queries);
    head = W::Wide(row - token * batch.heads);
    element = W::Wide((W::Lane() - in_warp * LanesOfRow(batch.head_dim)) * 8u);
  }
  POLARKV_WARP_FUNCTION typename W::I64 At(const int64_t (&stride)[3]) const {
    return sequence * stride[0] + query * stride[1] + head * stride[2];
  }
};

// 16 bytes hold four floats or eight numbers of 16 bits.
template <class W>
POLARKV_WARP_FUNCTION void LoadEight(const AttentionResult& side, const MergePlace<W>& place, typename W::F32 (&x)[8]) {
  using U32 = typename W::U32;
  const auto at = place.At(side.o_stride) + place.element;
  U32 words[4];
  if (side.type == ElementType::kF32) {
    POLARKV_UNROLL
    for (int half = 0; half < 2; ++half) {
      W::LoadWords(place.valid, side.o, (at + int64_t{4 * half}) * int64_t{4}, words);
      POLARKV_UNROLL
      for (int i = 0; i < 4; ++i) x[4 * half + i] = W::FloatOfBits(words[i]);
    }
    return;
  }
  W::LoadWords(place.valid, side.o, at * int64_t{2}, words);
  POLARKV_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (side.type == ElementType::kF16) {
      x[2 * i] = W::LowHalf(words[i]);
      x[2 * i + 1] = W::HighHalf(words[i]);
    } else {
      x[2 * i] = W::FloatOfBits(words[i] << 16);
      x[2 * i + 1] = W::FloatOfBits(words[i] & 0xFFFF0000u);
    }
  }
}

template <class W>
POLARKV_WARP_FUNCTION void StoreEight(const AttentionResult& side, const MergePlace<W>& place,
                                      const typename W::F32 (&x)[8]) {
  using U32 = typename W::U32;
  const auto at = place.At(side.o_stride) + place.element;
  U32 words[4];
  if (side.type == ElementType::kF32) {
    POLARKV_UNROLL
    for (int half = 0; half < 2; ++half) {
      POLARKV_UNROLL
      for (int i = 0; i < 4; ++i) words[i] = W::AsU32(x[4 * half + i]);
      W::StoreWords(place.valid, side.o, (at + int64_t{4 * half}) * int64_t{4}, words);
    }
    return;
  }
  POLARKV_UNROLL
  for (int i = 0; i < 4; ++i) {
    words[i] = side.type == ElementType::kF16
                   ? W::template PackElements<ElementType::kF16>(x[2 * i], x[2 * i + 1])
                   : W::template PackElements<ElementType::kBF16>(x[2 * i], x[2 * i + 1]);
  }
  W::StoreWords(place.valid, side.o, at * int64_t{2}, words);
}

// What each side's output counts for, and the log-sum-exp of both. Beside an empty side the other's share is exactly 1: 2^0 is.
template <class W>
struct MergeShares {
  using F32 = typename W::F32;
  typename W::Bool into_empty, more_empty;
  F32 into, more, lse;

  POLARKV_WARP_FUNCTION MergeShares(F32 a, F32 b) {
    into_empty = IsEmpty(a);
    more_empty = IsEmpty(b);
    const auto none = W::And(into_empty, more_empty);  // whose weights are NaNs
    const F32 top = W::Select(a > b, a, b);
    const F32 weight_a = W::Exp2((a - top) * 1.44269504f), weight_b = W::Exp2((b - top) * 1.44269504f);
    const F32 total = weight_a + weight_b;
    into = W::Select(none, F32(0.0f), W::DivideRounded(weight_a, total));
    more = W::Select(none, F32(0.0f), W::DivideRounded(weight_b, total));
    // The logarithm of 1 need not be 0 on a device.
    const F32 both = W::Select(F32(1.0f) >= total, top, top + W::Log2(total) * 0.693147181f);
    lse = W::Select(none, a, both);
  }

 private:
  static POLARKV_WARP_FUNCTION typename W::Bool IsEmpty(F32 lse) {
    using U32 = typename W::U32;
    return U32(1u) > (W::AsU32(lse) ^ 0xFF800000u);  // -inf
  }
};

template <class W>
POLARKV_WARP_FUNCTION void MergeResults(const MergeBatch& batch, uint32_t warp) {
  using F32 = typename W::F32;
  constexpr float kLargest = 3.402823466e38f;
  const MergePlace<W> place(batch, warp);
  const auto lse_at = place.At(batch.into.lse_stride);
  const MergeShares<W> shares(
      W::template LoadElement<ElementType::kF32>(place.valid, batch.into.lse, lse_at),
      W::template LoadElement<ElementType::kF32>(place.valid, batch.more.lse, place.At(batch.more.lse_stride)));
  F32 x[8], more[8];
  LoadEight<W>(batch.into, place, x);
  LoadEight<W>(batch.more, place, more);
  POLARKV_UNROLL
  for (int i = 0; i < 8; ++i) {
    const F32 sum = W::Select(shares.into_empty, F32(0.0f), x[i]) * shares.into +
                    W::Select(shares.more_empty, F32(0.0f), more[i]) * shares.more;
    x[i] = W::Select(sum > F32(kLargest), F32(kLargest), W::Select(F32(-kLargest) > sum, F32(-kLargest), sum));
  }
  StoreEight<W>(batch.into, place, x);
  W::Sync();  // every lane of a row has read its log-sum-exp
  const auto first = typename W::I64(int64_t{1}) > place.element;
  W::template StoreElement<ElementType::kF32>(W::And(place.valid, first), batch.into.lse, lse_at, shares.lse);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_MERGE_RESULTS_H_
