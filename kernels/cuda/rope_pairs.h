// Which coordinates RoPE turns together, and by how much a position: what key means are turned with.
#ifndef POLARKV_KERNELS_CUDA_ROPE_PAIRS_H_
#define POLARKV_KERNELS_CUDA_ROPE_PAIRS_H_

#include <cstdint>

#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

inline constexpr uint32_t kMostPairs = 128;  // of a head

// A model's: the same for all blocks of a namespace. Plain numbers, passed to kernels by value.
struct KeyMeanTurns {
  bool any = false;                  // some layer of some block may have key means
  bool interleaved = false;          // RoPE turns coordinates 2j and 2j + 1, not j and j + rope_dims / 2
  uint32_t rope_dims = 0;            // leading coordinates that RoPE turns; 0 without RoPE
  uint64_t phases[kMostPairs] = {};  // BlockSpec::phases; 0 from rope_dims / 2 on
  friend bool operator==(const KeyMeanTurns&, const KeyMeanTurns&) = default;
};

// Whether kernels find their way in it.
inline bool IsSound(const KeyMeanTurns& turns, uint32_t head_dim) {
  return turns.rope_dims % 2 == 0 && turns.rope_dims <= head_dim;
}

// Pair j of head_dim / 2, as PairOf has them; those beyond rope_dims are not turned.
template <class W>
struct PairPlace {
  typename W::U32 first, second;

  POLARKV_WARP_FUNCTION PairPlace(bool interleaved, uint32_t rope_dims, uint32_t head_dim, typename W::U32 pair) {
    using U32 = typename W::U32;
    const uint32_t half = rope_dims / 2;
    const auto turned = U32(half) > pair;
    first = W::Select(turned, interleaved ? pair * 2u : pair, pair + half);
    second = W::Select(turned, interleaved ? pair * 2u + 1u : pair + half, pair + head_dim / 2);
  }
};

// The pair of a coordinate, and whether it is its second.
template <class W>
struct PlaceInPair {
  typename W::U32 pair, second;

  POLARKV_WARP_FUNCTION PlaceInPair(bool interleaved, uint32_t rope_dims, uint32_t head_dim,
                                    typename W::U32 coordinate) {
    using U32 = typename W::U32;
    const uint32_t half = rope_dims / 2, unturned_half = (head_dim + rope_dims) / 2;
    const auto turned = U32(rope_dims) > coordinate;
    const auto upper = W::Select(turned, U32(half), U32(unturned_half));
    second = W::Select(coordinate >= upper, U32(1u), U32(0u));
    pair = coordinate - W::Select(turned, second * half, second * ((head_dim - rope_dims) / 2) + half);
    if (interleaved) {
      second = W::Select(turned, coordinate & 1u, second);
      pair = W::Select(turned, coordinate >> 1, pair);
    }
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ROPE_PAIRS_H_
