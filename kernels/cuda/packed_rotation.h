// The encoders' rotation (FORMAT.md, "Rotated vectors", steps 1 to 3) of a quarter of a tile, two lanes a token
// (row_stage.h has which coordinates a lane holds).
//
// Rotated coordinates are integers of 16 bits, so a word holds two of them as upper * 2^16 + lower with a signed lower
// one: sums and differences of words are those of both, exactly, and a butterfly of four coordinates is two
// instructions.
#ifndef POLARKV_KERNELS_CUDA_PACKED_ROTATION_H_
#define POLARKV_KERNELS_CUDA_PACKED_ROTATION_H_

#include "kernels/cuda/encode_args.h"
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

// The bits of a float, or of two numbers of 16 bits: of the larger magnitudes, of a NaN where one is. `magnitudes` has
// no signs.
template <class W, ElementType kType>
POLARKV_WARP_FUNCTION typename W::U32 LargerMagnitudes(typename W::U32 magnitudes, typename W::U32 word) {
  if constexpr (kType == ElementType::kF32) {
    return W::AsU32(W::LargerMagnitude(W::FloatOfBits(magnitudes), W::FloatOfBits(word)));
  } else {
    return W::template LargerMagnitudes<kType>(magnitudes, word);
  }
}

// As a float's bits, the same in both lanes of a token.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION typename W::U32 LargestMagnitudeOf(const StagedRow<W, kDim, kType>& row) {
  using U32 = typename W::U32;
  U32 largest = 0u;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 32; ++i) {
    POLARKV_UNROLL
    for (uint32_t v = 0; v < ElementBytes(kType); ++v) {
      const Words4<W> words = row.LoadWords(i, v);
      POLARKV_UNROLL
      for (const U32& word : words.w) largest = LargerMagnitudes<W, kType>(largest, word);
    }
  }
  largest = LargerMagnitudes<W, kType>(largest, W::ShuffleXor(largest, 16));
  if constexpr (kType == ElementType::kF32) return largest;
  largest = W::Max(largest & 0xFFFFu, largest >> 16);
  if constexpr (kType == ElementType::kBF16) return largest << 16;
  return W::AsU32(W::LowHalf(largest));
}

// A lane's share of a row: normalised, with D's signs.
template <class W, int kDim>
struct SignedRow {
  typename W::F32 x[kDim / 32][16];
};

// Normalises and measures the row. Numbers of fp16 are left as they are: neither they nor their squares leave the
// floats' range, so the unit may come to the sum.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION RowFacts<W> MeasureRow(const StagedRow<W, kDim, kType>& row, const RowSigns& signs,
                                             SignedRow<W, kDim>& out) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  RowFacts<W> facts;
  FindExponent<W, kDim, kType>(row, LargestMagnitudeOf<W, kDim, kType>(row), facts);
  F32 partial[16];
  POLARKV_UNROLL
  for (F32& sum : partial) sum = 0.0f;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < kDim / 32; ++i) {
    constexpr bool kWide = kType == ElementType::kF32;
    const U32 negate = kWide ? W::ShiftRight(U32(signs.single[i]), ChunkParity<W>() * 16u)
                             : W::ShiftRight(U32(signs.paired[i]), ChunkParity<W>() * 8u);
    POLARKV_UNROLL
    for (uint32_t v = 0; v < ElementBytes(kType); ++v) {
      Words4<W> words = row.LoadWords(i, v);
      POLARKV_UNROLL
      for (uint32_t w = 0; w < 4; ++w) {
        const int up = static_cast<int>((kWide ? 31 : 15) - (4 * v + w));
        words.w[w] = words.w[w] ^ ((negate << up) & (kWide ? 0x80000000u : 0x80008000u));
      }
      StagedRow<W, kDim, kType>::Unpack(words, v, out.x[i]);
    }
    POLARKV_UNROLL
    for (uint32_t c = 0; c < 16; ++c) {
      if constexpr (kType != ElementType::kF16) out.x[i][c] = out.x[i][c] * facts.unit;
      partial[c] = W::Fma(out.x[i][c], out.x[i][c], partial[c]);
    }
  }
  F32 square = SumOfPartials<W>(partial);
  if constexpr (kType == ElementType::kF16) square = square * facts.unit * facts.unit;
  facts.norm = W::SquareRoot(square);
  return facts;
}

// To the nearest integers at the encoders' norm, after the butterflies at stride 8. Adding 3 * 2^22 leaves no bits
// below the unit; in sums and differences of two such words it falls out of the bits that are kept.
template <class W, int kDim, ElementType kType>
POLARKV_WARP_FUNCTION void RoundRow(const SignedRow<W, kDim>& row, const RowFacts<W>& facts, float rotation_gain,
                                    PackedRow<W, kDim>& out) {
  using U32 = typename W::U32;
  using F32 = typename W::F32;
  const auto some = facts.norm > F32(0.0f);
  F32 gain = W::Select(some, W::DivideRounded(F32(rotation_gain), facts.norm), F32(0.0f));
  // x * unit is exact, so that the product is rounded once in either order.
  if constexpr (kType == ElementType::kF16) gain = gain * facts.unit;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < PackedRow<W, kDim>::kChunks; ++i) {
    POLARKV_UNROLL
    for (uint32_t k = 0; k < 8; ++k) {
      const U32 a = W::AsU32(W::Fma(row.x[i][k], gain, F32(0x1.8p23f)));
      const U32 b = W::AsU32(W::Fma(row.x[i][k + 8], gain, F32(0x1.8p23f)));
      // a + b above a - b.
      out.v[i][k] = a * 0x10001u + b * 0xFFFFu;
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
