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

// Bit 7 of the bytes of `bits` to `shift` places further down.
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 PlaceBits(typename W::U32 bits, int shift) {
  return (bits >> shift) & (0x80808080u >> shift);
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

  // y: the words of a chunk (packed_rotation.h), of signed halves.
  POLARKV_WARP_FUNCTION void Add(uint32_t chunk, const U32 (&y)[8], const EncodeArgs& args,
                                 const PermuteTables<kBits>& tables, CodeProducts<W>& products) {
    U32 crumbs = 0u, refinement = 0u;
    POLARKV_UNROLL
    for (int k = 0; k < 4; ++k) {
      // Codes k, k + 4, k + 8, k + 12 from the upper byte down; each byte of the words has four codes that follow each
      // other.
      const CodeBits<W> bits = CodesOf<kBits, W>(y[k + 4], y[k]);
      crumbs = crumbs | PlaceBits<W>(bits.high, 2 * k) | PlaceBits<W>(bits.low, 2 * k + 1);
      // Number n = 15 - c of a code, counted from the low end, is even for odd k.
      if constexpr (kBits > 2) refinement = refinement | PlaceBits<W>(bits.third, k % 2 != 0 ? 2 * k - 1 : 2 * k + 3);
      if constexpr (kBits > 3) refinement = refinement | PlaceBits<W>(bits.fourth, k % 2 != 0 ? 2 * k - 2 : 2 * k + 2);
    }
    ComplementBelowMiddle(crumbs, refinement);
    U32 odd, even;
    if constexpr (kBits == 4) {
      odd = W::SelectBits(0x33333333u, crumbs, refinement);
      even = W::SelectBits(0x33333333u, crumbs >> 2, refinement << 2);
    } else {
      U32 nibbles[4];
      AssembleNibbles<kBits, W>(crumbs, crumbs, refinement, refinement, nibbles);
      odd = nibbles[0];
      even = nibbles[1];
    }
    AddProducts(WholeImagesOf<kBits, W>(args, tables, odd), {y[7], y[5], y[3], y[1]}, products);
    AddProducts(WholeImagesOf<kBits, W>(args, tables, even), {y[6], y[4], y[2], y[0]}, products);

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
  // A nibble has the high bits of two codes in bits 3 and 1; their refinement bits are in bits 1, 0 and in 3, 2.
  POLARKV_WARP_FUNCTION static void ComplementBelowMiddle(U32& crumbs, U32& refinement) {
    const U32 below = ((crumbs >> 1) & 0x55555555u) ^ 0x55555555u;
    crumbs = crumbs ^ below;
    if constexpr (kBits > 2) {
      const U32 swapped = W::SelectBits(0x11111111u, below >> 2, below << 2);
      const U32 flip = swapped & 0x55555555u;
      refinement = refinement ^ (kBits > 3 ? flip * 3u : flip);
    }
  }

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
  POLARKV_WARP_FUNCTION void Add(uint32_t chunk, const U32 (&y)[8], const EncodeArgs& args,
                                 const PermuteTables<kBits>& tables, CodeProducts<W>& products) {
    const U32 row = QuarterToken<W>() * kStride + ChunkParity<W>() * 8u + 16 * chunk;
    POLARKV_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      const U32(&of)[8] = y;
      const U32 four[4] = {of[4 * half], of[4 * half + 1], of[4 * half + 2], of[4 * half + 3]};
      U32 nibbles = Nibbles(CodesOf<kBits, W>(four[0], four[2]), 0) | Nibbles(CodesOf<kBits, W>(four[1], four[3]), 4);
      const U32 below = ((nibbles >> 1) & 0x11111111u) ^ 0x11111111u;
      nibbles = nibbles ^ (kBits == 4 ? below * 13u : kBits == 3 ? below * 5u : below);
      AddProducts(WholeImagesOf<kBits, W>(args, tables, nibbles), four, products);
      W::StoreWordIf(true, stage_, row + 4 * half, nibbles & keep_);
    }
  }

  POLARKV_WARP_FUNCTION void Finish() {
    W::Sync();
    POLARKV_UNROLL
    for (uint32_t first = 0; first < kDim / 4; first += 32) Transpose(first);
  }

 private:
  // Codes' bits `up` from a byte's lower end, in the order of the tables for word kind 0 (permute_tables.h).
  POLARKV_WARP_FUNCTION static U32 Nibbles(const CodeBits<W>& bits, int up) {
    U32 nibbles = PlaceBits<W>(bits.high, 6 - up) | PlaceBits<W>(bits.low, 7 - up);
    if constexpr (kBits > 2) nibbles = nibbles | PlaceBits<W>(bits.third, 5 - up);
    if constexpr (kBits > 3) nibbles = nibbles | PlaceBits<W>(bits.fourth, 4 - up);
    return nibbles;
  }
  // The third bit is where a fourth one would be above.
  POLARKV_WARP_FUNCTION static U32 RefinementUp(U32 nibbles) { return kBits == 4 ? nibbles : nibbles & 0x44444444u; }

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
      crumbs[j] = W::SelectBits(0xCCCCCCCCu, even << 2, odd);
      if constexpr (kBits > 2) {
        refinement[j] = W::SelectBits(0xCCCCCCCCu, RefinementUp(odd), RefinementUp(even) >> 2);
      }
    }
    TransposeNibbles<W>(crumbs);
    const ValuePlaces<W> places(n, quarter_);
    const auto is_b = places.is_b;
    W::StoreVectorIf(active, planes_.payload, places.base, {{crumbs[0], crumbs[1], crumbs[2], crumbs[3]}});
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
