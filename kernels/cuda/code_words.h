// From the words of a tile's planes to int8 operands of the matrix multiply.
#ifndef POLARKV_KERNELS_CUDA_CODE_WORDS_H_
#define POLARKV_KERNELS_CUDA_CODE_WORDS_H_

#include <cstdint>

#include "kernels/cuda/permute_tables.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

template <class W>
POLARKV_WARP_FUNCTION typename W::U32 RotateRight(typename W::U32 x, int bits) {
  return (x >> bits) | (x << (32 - bits));
}

// Words of nibbles, one code or window each: [0] A's odd codes (15, 13, .. 1 from the low nibble up), [1] A's even codes (14, ..
// 0), [2], [3] the same for B. `p1`, `p0`: words of the first and second refinement plane, ignored below 3 and 4 bits; trellis3 has its lowest bits in `p1`.
template <int kKind, class W>
POLARKV_WARP_FUNCTION void AssembleNibbles(typename W::U32 a, typename W::U32 b, typename W::U32 p1, typename W::U32 p0,
                                           typename W::U32 (&nibbles)[4]) {
  using U32 = typename W::U32;
  constexpr uint32_t kLowCrumbs = 0x33333333u, kHighCrumbs = 0xCCCCCCCCu, kEvenBits = 0x55555555u,
                     kOddBits = 0xAAAAAAAAu;
  if constexpr (kKind == kTrellis2) {
    nibbles[0] = a;
    nibbles[1] = RotateRight<W>(a, 2);
    nibbles[2] = b;
    nibbles[3] = RotateRight<W>(b, 2);
  } else if constexpr (kKind == kTrellis3) {
    nibbles[0] = W::SelectBits(kLowCrumbs, a, p1);
    nibbles[1] = W::SelectBits(0x66666666u, RotateRight<W>(a, 1), RotateRight<W>(p1, 3));
    nibbles[2] = W::SelectBits(0x66666666u, RotateRight<W>(b, 31), RotateRight<W>(p1, 29));
    nibbles[3] = W::SelectBits(kHighCrumbs, b, p1);
  } else if constexpr (kKind == kTurbo4) {
    const U32 za = W::SelectBits(kEvenBits, p1, p0);
    const U32 zb = W::SelectBits(kEvenBits, p0, p1);
    nibbles[0] = W::SelectBits(kLowCrumbs, a, za);
    nibbles[1] = W::SelectBits(kHighCrumbs, a, za);
    nibbles[2] = W::SelectBits(kLowCrumbs, b, zb);
    nibbles[3] = W::SelectBits(kHighCrumbs, b, zb);
  } else if constexpr (kKind == kTurbo3) {
    const U32 za = p1 & kEvenBits;
    const U32 zb = p1 & kOddBits;
    nibbles[0] = W::SelectBits(kLowCrumbs, a, za);
    nibbles[1] = W::SelectBits(kLowCrumbs, a >> 2, za << 2);
    nibbles[2] = W::SelectBits(kLowCrumbs, b, zb >> 1);
    nibbles[3] = W::SelectBits(kLowCrumbs, b >> 2, zb << 1);
  } else {
    nibbles[0] = a & kLowCrumbs;
    nibbles[1] = (a >> 2) & kLowCrumbs;
    nibbles[2] = b & kLowCrumbs;
    nibbles[3] = (b >> 2) & kLowCrumbs;
  }
}

// The images of a nibble word's codes, as addends: their sum is the image. low: nibbles 0..3, high: 4..7.
template <int kKind, class W>
struct CodeOperand {
  static constexpr int kAddends = HasSixteenEntries(kKind) ? 2 : 1;
  typename W::U32 low[kAddends], high[kAddends];
};

template <int kKind, int kWord, class W>
POLARKV_WARP_FUNCTION CodeOperand<kKind, W> LookUp(const PermuteTables<kKind>& tables, typename W::U32 nibbles) {
  using U32 = typename W::U32;
  CodeOperand<kKind, W> operand;
  const U32 upper = nibbles >> 16;
  if constexpr (HasSixteenEntries(kKind)) {
    const uint32_t(&t)[4] = tables.word[kWord];
    const U32 flipped = nibbles ^ 0x88888888u;
    operand.low[0] = W::Permute(t[0], t[1], nibbles);
    operand.high[0] = W::Permute(t[0], t[1], upper);
    operand.low[1] = W::Permute(t[2], t[3], flipped);
    operand.high[1] = W::Permute(t[2], t[3], flipped >> 16);
  } else {
    const uint32_t second = kKind == kTurbo3 ? tables.word[kKind - 2] : 0;
    operand.low[0] = W::Permute(tables.word[0], second, nibbles);
    operand.high[0] = W::Permute(tables.word[0], second, upper);
  }
  return operand;
}

// Sixteen rows x 32 codes of one word place: rows g from A, rows g + 8 from B. [0]: odd codes, [1]: even codes.
template <int kKind, class W>
struct CodeFragment {
  CodeOperand<kKind, W> a[2], b[2];
};

// trellis1: the windows of the 32 codes of a ring. Its codes stand in another order than those of other kinds: see OperandFor.
template <class W>
POLARKV_WARP_FUNCTION CodeFragment<kTrellis1, W> DecodeRing(const PermuteTables<kTrellis1>& tables, typename W::U32 ring) {
  using U32 = typename W::U32;
  const uint32_t(&t)[4] = tables.word[0];
  CodeFragment<kTrellis1, W> codes;
  POLARKV_UNROLL
  for (int s = 0; s < 4; ++s) {
    // Nibble k has code number 4k + s of the ring, counted from its end: the upper four of A, the lower four of B.
    const U32 windows = s == 0 ? ring : RotateRight<W>(ring, s);
    const U32 flipped = windows ^ 0x88888888u;
    POLARKV_UNROLL
    for (int i = 0; i < 2; ++i) {
      const U32 b = i == 0 ? windows : flipped;
      const U32 image_a = W::Permute(t[2 * i], t[2 * i + 1], b >> 16), image_b = W::Permute(t[2 * i], t[2 * i + 1], b);
      (s < 2 ? codes.a[s % 2].low : codes.a[s % 2].high)[i] = image_a;
      (s < 2 ? codes.b[s % 2].low : codes.b[s % 2].high)[i] = image_b;
    }
  }
  return codes;
}

template <int kKind, class W>
POLARKV_WARP_FUNCTION CodeFragment<kKind, W> DecodeFragment(const PermuteTables<kKind>& tables, typename W::U32 a,
                                                            typename W::U32 b, typename W::U32 p1, typename W::U32 p0) {
  if constexpr (kKind == kTrellis1) {
    return DecodeRing<W>(tables, a);
  } else {
    typename W::U32 nibbles[4];
    AssembleNibbles<kKind, W>(a, b, p1, p0, nibbles);
    return {{LookUp<kKind, 0, W>(tables, nibbles[0]), LookUp<kKind, 1, W>(tables, nibbles[1])},
            {LookUp<kKind, 2, W>(tables, nibbles[2]), LookUp<kKind, 3, W>(tables, nibbles[3])}};
  }
}

// One contraction step's other operand: [parity of the codes][register].
template <class W>
struct VectorOperand {
  typename W::U32 b[2][2];
};

// With its codes in the order of the kind's fragments: as they are, but for trellis1 every other one first.
template <int kKind, class W>
POLARKV_WARP_FUNCTION VectorOperand<W> OperandFor(const VectorOperand<W>& vector) {
  VectorOperand<W> ordered = vector;
  if constexpr (kKind == kTrellis1) {
    POLARKV_UNROLL
    for (int parity = 0; parity < 2; ++parity) {
      ordered.b[parity][0] = W::Permute(vector.b[parity][0], vector.b[parity][1], 0x6420u);
      ordered.b[parity][1] = W::Permute(vector.b[parity][0], vector.b[parity][1], 0x7531u);
    }
  }
  return ordered;
}

template <bool kSigned, int kKind, class W>
POLARKV_WARP_FUNCTION void Accumulate(const CodeFragment<kKind, W>& codes, const VectorOperand<W>& vector,
                                      typename W::I32 (&acc)[4]) {
  POLARKV_UNROLL
  for (int parity = 0; parity < 2; ++parity) {
    POLARKV_UNROLL
    for (int i = 0; i < CodeOperand<kKind, W>::kAddends; ++i) {
      const auto& rows = codes.a[parity];
      const auto& rows8 = codes.b[parity];
      if constexpr (kSigned) {
        W::MmaS8(acc, rows.low[i], rows8.low[i], rows.high[i], rows8.high[i], vector.b[parity][0], vector.b[parity][1]);
      } else {
        W::MmaU8(acc, rows.low[i], rows8.low[i], rows.high[i], rows8.high[i], vector.b[parity][0], vector.b[parity][1]);
      }
    }
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_CODE_WORDS_H_
