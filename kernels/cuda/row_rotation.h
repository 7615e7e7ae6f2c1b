// The signed Hadamard rotation of query and output rows that lie in registers as matrix fragments do: lane 4g + t holds of
// columns (rows of queries) 2t and 2t + 1 the coordinates 64 * group + 32 * half + 4g + word, for all groups, halves, words.
#ifndef POLARKV_KERNELS_CUDA_ROW_ROTATION_H_
#define POLARKV_KERNELS_CUDA_ROW_ROTATION_H_

#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

template <class W, int kDim>
struct RowFragment {
  static constexpr int kGroups = kDim / 64;
  typename W::F32 x[kGroups][2][4];  // [group][half][word]
};

// Stores a row times `to_int`, rounded to int8. `at`: of the row, in bytes from `rows`.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void StoreRounded(int8_t* rows, typename W::U32 at, const RowFragment<W, kDim>& row,
                                        typename W::F32 to_int) {
  POLARKV_UNROLL
  for (int i = 0; i < kDim / 32; ++i) {
    typename W::U32 packed = 0u;
    POLARKV_UNROLL
    for (int word = 0; word < 4; ++word) {
      const auto rounded = W::Round(row.x[i / 2][i % 2][word] * to_int);
      packed = packed | ((W::BitsOf(rounded) & 0xFFu) << (8 * word));
    }
    W::StoreWord(rows, at + (W::Lane() & 28u) + static_cast<uint32_t>(32 * i), packed);
  }
}

template <class W>
POLARKV_WARP_FUNCTION void Butterfly(typename W::F32& a, typename W::F32& b) {
  const typename W::F32 sum = a + b;
  b = a - b;
  a = sum;
}

// x -> H x, not normalised: blocks of the largest power of two that divides kDim.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void Hadamard(RowFragment<W, kDim>& row) {
  using F32 = typename W::F32;
  constexpr int kGroups = kDim / 64;
  POLARKV_UNROLL
  for (auto& group : row.x) {
    POLARKV_UNROLL
    for (auto& half : group) {
      Butterfly<W>(half[0], half[1]);
      Butterfly<W>(half[2], half[3]);
      Butterfly<W>(half[0], half[2]);
      Butterfly<W>(half[1], half[3]);
      POLARKV_UNROLL
      for (uint32_t mask = 4; mask < 32; mask *= 2) {
        const auto upper = (W::Lane() & mask) > typename W::U32(0u);
        POLARKV_UNROLL
        for (auto& value : half) {
          const F32 partner = W::ShuffleXor(value, static_cast<int>(mask));
          value = W::Select(upper, partner - value, value + partner);
        }
      }
    }
    POLARKV_UNROLL
    for (int word = 0; word < 4; ++word) Butterfly<W>(group[0][word], group[1][word]);
  }
  if constexpr ((kGroups & (kGroups - 1)) == 0) {
    POLARKV_UNROLL
    for (int stride = 1; stride < kGroups; stride *= 2) {
      POLARKV_UNROLL
      for (int group = 0; group < kGroups; ++group) {
        if ((group & stride) != 0) continue;
        POLARKV_UNROLL
        for (int i = 0; i < 8; ++i) Butterfly<W>(row.x[group][i / 4][i % 4], row.x[group + stride][i / 4][i % 4]);
      }
    }
  }
}

// `signs`: bit j % 32 of word j / 32 is set where coordinate j is negated.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void ApplySigns(const uint32_t (&signs)[8], RowFragment<W, kDim>& row) {
  using U32 = typename W::U32;
  POLARKV_UNROLL
  for (int i = 0; i < kDim / 32; ++i) {
    POLARKV_UNROLL
    for (int word = 0; word < 4; ++word) {
      auto& value = row.x[i / 2][i % 2][word];
      const U32 bit = U32(1u << word) << (W::Lane() & 28u);  // lane 4g + t: bit 4g + word
      value = W::Select((bit & signs[i]) > U32(0u), -value, value);
    }
  }
}

// Over the lanes that share columns.
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 MaxOverRow(typename W::F32 x) {
  POLARKV_UNROLL
  for (int mask = 4; mask < 32; mask *= 2) x = W::Max(x, W::ShuffleXor(x, mask));
  return x;
}
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 SumOverRow(typename W::F32 x) {
  POLARKV_UNROLL
  for (int mask = 4; mask < 32; mask *= 2) x = x + W::ShuffleXor(x, mask);
  return x;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ROW_ROTATION_H_
