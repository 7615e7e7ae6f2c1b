// The codes of a quarter of a tile to their places in the planes (codec/code_order.h).
//
// Keys: a lane has all 16 codes of an atom, and the lane of the token 8 further on the atom that shares its refinement
// words. Values: atoms run over the tokens, so lanes exchange nibbles of codes through the stage: a lane takes four
// coordinates of all 16 tokens and transposes.
#ifndef POLARKV_KERNELS_CUDA_QUARTER_PLANES_H_
#define POLARKV_KERNELS_CUDA_QUARTER_PLANES_H_

#include "kernels/cuda/code_products.h"
#include "kernels/cuda/quarter_places.h"
#include "kernels/cuda/row_stage.h"
#include "kernels/cuda/turbo_levels.h"

namespace polarkv::cuda {

// Where a side's codes of one tile go; null: the codec has no such plane.
struct SidePlanes {
  uint8_t* payload;
  uint8_t* refine[2];
};

// Bits 31 and 15 of `bits` to `shift` places further down.
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 PlaceBits(typename W::U32 bits, int shift) {
  return (bits >> shift) & (0x80008000u >> shift);
}

// Refinement bits of a word's two atoms, each as those of a vector A lie, third and fourth bits together -> the word of
// the first plane, to be stored by the lane of A, and of the second, by that of B. `partner`: the other lane's bits.
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 RefinementWord(typename W::Bool is_b, typename W::U32 own,
                                                     typename W::U32 partner) {
  const auto first = W::SelectBits(0x55555555u, own, partner << 1);
  const auto second = W::SelectBits(0xAAAAAAAAu, partner, own >> 1);
  return W::Select(is_b, second, first);
}

// kSide 0: keys.
template <class W, int kDim, ElementType kType, int kBits, int kSide>
class QuarterPlanes {
 public:
  using U32 = typename W::U32;

  POLARKV_WARP_FUNCTION QuarterPlanes(const SidePlanes& planes, uint32_t quarter, uint8_t*, U32 keep)
      : planes_(planes), keep_(keep), places_(quarter) {}

  POLARKV_WARP_FUNCTION void Add(uint32_t chunk, const CodeBits<W> (&bits)[8], const U32 (&y)[8],
                                 const PermuteTables<kBits>& tables, CodeProducts<W>& products) {
    U32 crumbs = 0u, refinement = 0u;
    POLARKV_UNROLL
    for (int k = 0; k < 8; ++k) {
      crumbs = crumbs | PlaceBits<W>(bits[k].high, 2 * k) | PlaceBits<W>(bits[k].low, 2 * k + 1);
      // Number n = 15 - c of a code, counted from the low end, is even for odd k.
      if constexpr (kBits > 2)
        refinement = refinement | PlaceBits<W>(bits[k].third, k % 2 != 0 ? 2 * k - 1 : 2 * k + 3);
      if constexpr (kBits > 3)
        refinement = refinement | PlaceBits<W>(bits[k].fourth, k % 2 != 0 ? 2 * k - 2 : 2 * k + 2);
    }
    U32 nibbles[4];
    AssembleNibbles<kBits, W>(crumbs, crumbs, refinement, refinement, nibbles);
    AddProducts<kBits, W>(LookUp<kBits, 0, W>(tables, nibbles[0]), {y[7], y[5], y[3], y[1]}, products);
    AddProducts<kBits, W>(LookUp<kBits, 1, W>(tables, nibbles[1]), {y[6], y[4], y[2], y[0]}, products);

    W::StoreWordIf(true, planes_.payload, places_.Base(chunk), crumbs & keep_);
    if constexpr (kBits > 2) {
      const U32 own = refinement & keep_;
      const U32 word = RefinementWord<W>(places_.is_b, own, W::ShuffleXor(own, 8));
      const U32 at = places_.Refine(chunk);
      W::StoreWordIf(W::Not(places_.is_b), planes_.refine[0], at, word);
      if constexpr (kBits > 3) W::StoreWordIf(places_.is_b, planes_.refine[1], at, word);
    }
  }
  POLARKV_WARP_FUNCTION void Finish() {}

 private:
  const SidePlanes& planes_;
  U32 keep_;
  KeyPlaces<W, kDim> places_;
};

template <class W, int kDim, ElementType kType, int kBits>
class QuarterPlanes<W, kDim, kType, kBits, 1> {
 public:
  using U32 = typename W::U32;
  static constexpr uint32_t kStride = RowStage<kDim, kType>::kStride;

  POLARKV_WARP_FUNCTION QuarterPlanes(const SidePlanes& planes, uint32_t quarter, uint8_t* stage, U32 keep)
      : planes_(planes), quarter_(quarter), stage_(stage), keep_(keep) {}

  // Two words of eight nibbles each, codes 8..11 and 0..3, codes 12..15 and 4..7, to the token's row in the stage.
  POLARKV_WARP_FUNCTION void Add(uint32_t chunk, const CodeBits<W> (&bits)[8], const U32 (&y)[8],
                                 const PermuteTables<kBits>& tables, CodeProducts<W>& products) {
    const U32 row = QuarterToken<W>() * kStride + ChunkParity<W>() * 8u + 16 * chunk;
    POLARKV_UNROLL
    for (int half = 0; half < 2; ++half) {
      U32 nibbles = 0u;
      POLARKV_UNROLL
      for (int p = 0; p < 4; ++p) nibbles = nibbles | Nibbles(bits[4 * half + p], p);
      AddProducts<kBits, W>(LookUp<kBits, 1, W>(tables, nibbles),
                            {y[4 * half], y[4 * half + 1], y[4 * half + 2], y[4 * half + 3]}, products);
      W::StoreWordIf(true, stage_, row + static_cast<uint32_t>(4 * half), nibbles & keep_);
    }
  }

  POLARKV_WARP_FUNCTION void Finish() {
    W::Sync();
    POLARKV_UNROLL
    for (uint32_t first = 0; first < kDim / 4; first += 32) Transpose(first);
  }

 private:
  // A code's bits in a nibble, in the order of the tables for word kind 1 (permute_tables.h).
  POLARKV_WARP_FUNCTION static U32 Nibbles(const CodeBits<W>& bits, int p) {
    const int top = 15 - 4 * p;  // from bit 15 to bit 4 p
    if constexpr (kBits == 2) return PlaceBits<W>(bits.high, top - 1) | PlaceBits<W>(bits.low, top);
    if constexpr (kBits == 3) {
      return PlaceBits<W>(bits.third, top - 2) | PlaceBits<W>(bits.high, top - 1) | PlaceBits<W>(bits.low, top);
    }
    return PlaceBits<W>(bits.high, top - 3) | PlaceBits<W>(bits.low, top - 2) | PlaceBits<W>(bits.fourth, top - 1) |
           PlaceBits<W>(bits.third, top);
  }
  // Nibbles of crumbs in their upper two bits, of the refinement bits (third below fourth) in the lower ones.
  POLARKV_WARP_FUNCTION static U32 CrumbsUp(U32 nibbles) {
    if constexpr (kBits == 4) return nibbles;
    return nibbles << 2;
  }
  POLARKV_WARP_FUNCTION static U32 RefinementUp(U32 nibbles) {
    if constexpr (kBits == 4) return nibbles << 2;
    return nibbles & 0x44444444u;  // the third bit, where a fourth one is above
  }

  // Lane: coordinates 4 n to 4 n + 3 of 16 tokens, n = first + lane.
  POLARKV_WARP_FUNCTION void Transpose(uint32_t first) {
    const U32 n = W::Lane() + first;
    const auto active = U32(kDim / 4) > n;
    const U32 at = W::Select(active, PieceOffset<W>(n), U32(0u));
    U32 crumbs[4], refinement[4];
    POLARKV_UNROLL
    for (uint32_t j = 0; j < 4; ++j) {
      // Tokens 2 j, 2 j + 1 in the upper half, 2 j + 8, 2 j + 9 in the lower one.
      const U32 even = Pair(at, 2 * j), odd = Pair(at, 2 * j + 1);
      crumbs[j] = W::SelectBits(0xCCCCCCCCu, CrumbsUp(even), CrumbsUp(odd) >> 2);
      if constexpr (kBits > 2) {
        refinement[j] = W::SelectBits(0xCCCCCCCCu, RefinementUp(odd), RefinementUp(even) >> 2);
      }
    }
    TransposeNibbles<W>(crumbs);
    const ValuePlaces<W> places(n, quarter_);
    const auto is_b = places.is_b;
    W::StoreVectorIf(active, planes_.payload, places.base,
                     {{crumbs[0], crumbs[1], crumbs[2], crumbs[3]}});
    if constexpr (kBits > 2) {
      TransposeNibbles<W>(refinement);
      Words4<W> words;
      POLARKV_UNROLL
      for (int i = 0; i < 4; ++i) {
        words.w[i] = RefinementWord<W>(is_b, refinement[i], W::ShuffleXor(refinement[i], 8));
      }
      W::StoreVectorIf(W::And(active, W::Not(is_b)), planes_.refine[0], places.refine, words);
      if constexpr (kBits > 3) W::StoreVectorIf(W::And(active, is_b), planes_.refine[1], places.refine, words);
    }
  }
  POLARKV_WARP_FUNCTION U32 Pair(U32 at, uint32_t token) const {
    const U32 lower = W::LoadShort(stage_, at + (token + 8) * kStride);
    return (W::LoadShort(stage_, at + token * kStride) << 16) | lower;
  }

  const SidePlanes& planes_;
  uint32_t quarter_;
  uint8_t* stage_;
  U32 keep_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_QUARTER_PLANES_H_
