// The encoders' rotation (FORMAT.md, "Rotated vectors", steps 1 to 3) of a quarter of a tile, two lanes a token
// (row_stage.h has which coordinates a lane holds).
//
// Rotated coordinates are integers of 16 bits, so a word holds two of them as upper * 2^16 + lower with a signed lower
// one: sums and differences of words are those of both, exactly, and a butterfly of four coordinates is two
// instructions.
#ifndef POLARKV_KERNELS_CUDA_PACKED_ROTATION_H_
#define POLARKV_KERNELS_CUDA_PACKED_ROTATION_H_

#include "kernels/cuda/row_stage.h"

namespace polarkv::cuda {

// Word k of a chunk: code k in the upper half, code k + 8 in the lower one.
template <class W, int kDim>
struct PackedRow {
  static constexpr uint32_t kChunks = kDim / 32;
  typename W::U32 v[kChunks][8];
};

template <class W>
struct RowFacts {
  typename W::I32 exponent;  // of the largest magnitude, or 0
  typename W::F32 unit;      // 2^-exponent, but for rows that were lifted
  typename W::F32 norm;      // of the normalised vector
  typename W::Bool finite;
};

// `largest`: the bits of the largest magnitude. Rows below 2^-60 are lifted, so that their unit is a float, and its
// product with the gain.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION void FindExponent(const StagedRow<W, kDim, kType>& row, typename W::U32 largest,
                                        RowFacts<W>& facts) {
  using U32 = typename W::U32;
  facts.finite = U32(0x7F800000u) > largest;
  const auto zero = U32(1u) > largest;
  // Bits of subnormal numbers are units of 2^-149.
  const U32 counted = W::AsU32(W::ToFloat(W::AsI32(largest))) >> 23;
  U32 biased = W::Select(largest > U32(0x7FFFFFu), largest >> 23, counted - 149u);
  biased = W::Select(zero, U32(127u), biased);
  facts.exponent = W::AsI32(biased) - 127;
  if constexpr (kType != ElementType::kF16) {
    const auto low = typename W::I32(-60) > facts.exponent;
    if (W::Any(low)) {
      W::Sync();
      row.Lift(low);
      W::Sync();
      biased = W::Select(low, biased + 64u, biased);
    }
  }
  facts.unit = W::FloatOfBits(W::Select(biased > U32(253u), U32(0x00400000u), (U32(254u) - biased) << 23));
}

// Sums over all coordinates in the reference's order: 32 partial sums, then a tree. Both lanes of a token get it.
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 SumOfPartials(typename W::F32 (&partial)[16]) {
  POLARKV_UNROLL
  for (uint32_t stride = 1; stride < 16; stride *= 2) {
    POLARKV_UNROLL
    for (uint32_t i = 0; i < 16; i += 2 * stride) partial[i] = partial[i] + partial[i + stride];
  }
  return partial[0] + W::ShuffleXor(partial[0], 16);
}

template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION RowFacts<W> MeasureRow(const StagedRow<W, kDim, kType>& row) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  constexpr uint32_t kChunks = kDim / 32;
  U32 largest = 0u;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kChunks; ++i) {
    F32 x[16];
    row.Load(i, x);
    POLARKV_UNROLL
    for (const F32& value : x) largest = W::Max(largest, W::AsU32(value) & 0x7FFFFFFFu);
  }
  largest = W::Max(largest, W::ShuffleXor(largest, 16));
  RowFacts<W> facts;
  FindExponent<W, kDim, kType>(row, largest, facts);
  F32 partial[16];
  POLARKV_UNROLL
  for (F32& sum : partial) sum = 0.0f;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kChunks; ++i) {
    F32 x[16];
    row.Load(i, x);
    POLARKV_UNROLL
    for (uint32_t c = 0; c < 16; ++c) {
      const F32 normalised = x[c] * facts.unit;
      partial[c] = W::Fma(normalised, normalised, partial[c]);
    }
  }
  facts.norm = W::SquareRoot(SumOfPartials<W>(partial));
  return facts;
}

// To the nearest integers at the encoders' norm, with D's signs, after the butterflies at stride 8. Adding 3 * 2^22
// leaves no bits below the unit; in sums and differences of two such words it falls out of the bits that are kept.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION void RoundRow(const StagedRow<W, kDim, kType>& row, const RowFacts<W>& facts, float rotation_gain,
                                    const uint32_t (&signs)[8], PackedRow<W, kDim>& out) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  const auto some = facts.norm > F32(0.0f);
  // x * unit is exact, so that the product is rounded once in either order.
  const F32 gain = W::Select(some, W::DivideRounded(F32(rotation_gain), facts.norm), F32(0.0f)) * facts.unit;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < PackedRow<W, kDim>::kChunks; ++i) {
    F32 x[16];
    row.Load(i, x);
    const U32 negate = W::ShiftRight(U32(signs[i]), ChunkParity<W>() * 16u);
    U32 rounded[16];
    POLARKV_UNROLL
    for (uint32_t c = 0; c < 16; ++c) {
      const F32 value = W::FloatOfBits(W::AsU32(x[c]) ^ ((negate << static_cast<int>(31 - c)) & 0x80000000u));
      rounded[c] = W::AsU32(W::Fma(value, gain, F32(0x1.8p23f)));
    }
    POLARKV_UNROLL
    for (uint32_t k = 0; k < 8; ++k) {
      out.v[i][k] = ((rounded[k] + rounded[k + 8]) << 16) + (rounded[k] - rounded[k + 8]);
    }
  }
}

template <class W>
POLARKV_WARP_FUNCTION void WordButterfly(typename W::U32& a, typename W::U32& b) {
  const typename W::U32 sum = a + b;
  b = a - b;
  a = sum;
}

// The other strides.
template <class W, int kDim>
POLARKV_WARP_FUNCTION void HadamardPacked(PackedRow<W, kDim>& row) {
  using U32 = typename W::U32;
  constexpr uint32_t kChunks = PackedRow<W, kDim>::kChunks;
  const U32 sign = W::Select(ChunkParity<W>() > U32(0u), U32(0xFFFFFFFFu), U32(1u));
  POLARKV_UNROLL
  for (auto& chunk : row.v) {
    POLARKV_UNROLL
    for (uint32_t stride = 1; stride < 8; stride *= 2) {
      POLARKV_UNROLL
      for (uint32_t k = 0; k < 8; ++k) {
        if ((k & stride) == 0) WordButterfly<W>(chunk[k], chunk[k + stride]);
      }
    }
    POLARKV_UNROLL
    for (U32& word : chunk) word = word * sign + W::ShuffleXor(word, 16);
  }
  POLARKV_UNROLL
  for (uint32_t stride = 1; stride < kChunks; stride *= 2) {
    POLARKV_UNROLL
    for (uint32_t i = 0; i < kChunks; ++i) {
      if ((i & stride) != 0) continue;
      POLARKV_UNROLL
      for (uint32_t k = 0; k < 8; ++k) WordButterfly<W>(row.v[i][k], row.v[i + stride][k]);
    }
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_PACKED_ROTATION_H_
