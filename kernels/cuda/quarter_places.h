// Where in a tile's planes the words of a quarter's codes are (codec/code_order.h), and the step that turns values'
// codes from one word a coordinate to one a token.
#ifndef POLARKV_KERNELS_CUDA_QUARTER_PLACES_H_
#define POLARKV_KERNELS_CUDA_QUARTER_PLACES_H_

#include "kernels/cuda/row_stage.h"

namespace polarkv::cuda {

// Keys: of a lane's token and chunks (row_stage.h), in bytes.
template <class W, int kDim>
class KeyPlaces {
 public:
  using U32 = typename W::U32;
  static constexpr uint32_t kQ = kDim / 64;

  POLARKV_WARP_FUNCTION explicit KeyPlaces(uint32_t quarter) : is_b(QuarterToken<W>() > U32(7u)) {
    // Token 16 T + e: g = 2 T + e1, word 2 e2 + e0, vector e3; and its chunks are of parity q.
    const U32 e = QuarterToken<W>();
    const U32 g = ((e >> 1) & 1u) + 2 * (quarter % 2);
    const U32 word = ((e >> 2) & 1u) * 2u + (e & 1u);
    const U32 lane = g * 16u + word * 4u + quarter / 2 * 256;
    const U32 q = ChunkParity<W>();
    refine_ = lane + (kQ == 1 ? q * 64u : q * 512u);
    base_ = lane + (e >> 3) * 512u + (kQ == 1 ? q * 64u : q * 1024u);
  }
  // Of the lane's chunk number i.
  POLARKV_WARP_FUNCTION U32 Base(uint32_t i) const { return base_ + ChunkOffset(i, 1024); }
  POLARKV_WARP_FUNCTION U32 Refine(uint32_t i) const { return refine_ + ChunkOffset(i, 512); }

  const typename W::Bool is_b;  // in vector B

 private:
  // Of chunk 2 i + q what does not depend on q: t = h / Q, group = h % Q.
  POLARKV_WARP_FUNCTION static uint32_t ChunkOffset(uint32_t i, uint32_t group_bytes) {
    if constexpr (kQ == 1) return 128 * i;
    if constexpr (kQ == 2) return 64 * i;
    return i / 2 * 64 + i % 2 * 2 * group_bytes;
  }
  U32 base_, refine_;
};

// Values: of the four words of coordinates 4 n to 4 n + 3, in bytes.
template <class W>
struct ValuePlaces {
  using U32 = typename W::U32;
  POLARKV_WARP_FUNCTION ValuePlaces(U32 n, uint32_t quarter) : is_b((n & 8u) > U32(0u)) {
    const U32 g = n & 7u;
    const U32 lane = (g >> 2) * 16u + (g & 3u) + 4 * quarter;
    refine = (n >> 4) * 512u + lane * 16u;
    base = (n >> 4) * 1024u + ((n >> 3) & 1u) * 512u + lane * 16u;
  }
  U32 base, refine;
  typename W::Bool is_b;
};

// Values pass between lanes through the stage as nibbles, two words for each chunk of a token: codes 8..11 and 0..3,
// codes 12..15 and 4..7. The half of a word that has coordinates 4 n to 4 n + 3, in bytes from the token's row.
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 PieceOffset(typename W::U32 n) {
  return (n >> 2) * 8u + (n & 1u) * 4u + (typename W::U32(2u) - (n & 2u));
}

// 4 x 4 nibbles in both halves of four words: nibble p of word j to nibble 3 - j of word p.
template <class W>
POLARKV_WARP_FUNCTION void TransposeNibbles(typename W::U32 (&w)[4]) {
  using U32 = typename W::U32;
  const U32 low02 = W::Permute(w[2], w[0], U32(0x6240u)), high02 = W::Permute(w[2], w[0], U32(0x7351u));
  const U32 low13 = W::Permute(w[3], w[1], U32(0x6240u)), high13 = W::Permute(w[3], w[1], U32(0x7351u));
  w[0] = W::SelectBits(0xF0F0F0F0u, low02 << 4, low13);
  w[1] = W::SelectBits(0xF0F0F0F0u, low02, low13 >> 4);
  w[2] = W::SelectBits(0xF0F0F0F0u, high02 << 4, high13);
  w[3] = W::SelectBits(0xF0F0F0F0u, high02, high13 >> 4);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_QUARTER_PLACES_H_
