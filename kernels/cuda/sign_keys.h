// Keys of which only signs of projections are stored (FORMAT.md, "Sign sketches"): a score is the sum over projections of
// the projected query with the signs as +1 and -1, in integers. A plane of signs has the places of a first refinement
// plane, so that four bits of a word are in each nibble: of vector A and of B, of an even and of an odd code.
#ifndef POLARKV_KERNELS_CUDA_SIGN_KEYS_H_
#define POLARKV_KERNELS_CUDA_SIGN_KEYS_H_

#include "kernels/cuda/tile_products.h"

namespace polarkv::cuda {

template <class W>
POLARKV_WARP_FUNCTION CodeFragment<kSigns4, W> DecodeSigns(typename W::U32 word) {
  using U32 = typename W::U32;
  CodeFragment<kSigns4, W> signs;
  POLARKV_UNROLL
  for (int vector = 0; vector < 2; ++vector) {
    // Without the fourth bit, which a permute takes for a question of sign.
    const U32 bits = (vector == 0 ? word : word >> 1) & 0x77777777u;
    auto& rows = vector == 0 ? signs.a : signs.b;
    POLARKV_UNROLL
    for (int i = 0; i < 2; ++i) {
      const U32 nibbles = i == 0 ? bits : bits >> 16;
      // [0]: codes c odd, whose number 15 - c is even: bit 2 of the nibble. [1]: bit 0.
      (i == 0 ? rows[0].low : rows[0].high)[0] = W::Permute(U32(0xFFFFFFFFu), U32(0x01010101u), nibbles);
      (i == 0 ? rows[1].low : rows[1].high)[0] = W::Permute(U32(0x01FF01FFu), U32(0x01FF01FFu), nibbles);
    }
  }
  return signs;
}

// S of the tile, biased. Rows of queries: int8 [projection][kDim]. Source: KeyVector(plane * groups + group).
template <class W, int kDim, class Source>
POLARKV_WARP_FUNCTION void ScoreTile(const Source& tile, const PermuteTables<kSigns4>& tables,
                                     const RowQueries<W> (&queries)[1], typename W::I32 (&scores)[1][4][4]) {
  constexpr int kGroups = kDim / 64;
  POLARKV_UNROLL
  for (int i = 0; i < 16; ++i) scores[0][i / 4][i % 4] = kScoreBias;
  const int projections = BitsOfKind(tables.kind);
  const typename W::U32 row = (W::Lane() >> 2) * static_cast<uint32_t>(projections * kDim) +
                              (W::Lane() & 3u) * static_cast<uint32_t>(16 * kGroups);
  for (int i = 0; i < projections; ++i) {
    POLARKV_UNROLL
    for (int group = 0; group < kGroups; ++group) {
      const auto vector =
          ChunkOperand<W>(W::LoadVector(queries[0].rows, row + static_cast<uint32_t>(i * kDim + 16 * group)));
      const Words4<W> words = tile.KeyVector(i * kGroups + group);
      POLARKV_UNROLL
      for (int w = 0; w < 4; ++w) Accumulate<true, kSigns4, W>(DecodeSigns<W>(words.w[w]), vector, scores[0][w]);
    }
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_SIGN_KEYS_H_
