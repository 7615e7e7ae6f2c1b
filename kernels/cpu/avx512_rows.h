// Rows of coordinates in registers: register 2 i has the even ones of 32 i .. 32 i + 31, register 2 i + 1 the odd ones, so
// that 16-bit numbers become floats by a shift or a mask. Hadamard transforms and sums in the order of FORMAT.md ("Turbo
// codes", Writing), and 4x4 transpositions of 128-bit lanes. For sources compiled with AVX-512.
#ifndef POLARKV_KERNELS_CPU_AVX512_ROWS_H_
#define POLARKV_KERNELS_CPU_AVX512_ROWS_H_

#include <immintrin.h>

#include <cstdint>

namespace polarkv::cpu {
namespace {

// Takes bits of `a` where the mask is set, of `b` elsewhere: one instruction.
[[gnu::always_inline]] inline __m512i Select(__m512i mask, __m512i a, __m512i b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xCA); }
[[gnu::always_inline]] inline __m512i SelectBytes(uint8_t mask, __m512i a, __m512i b) {
  return Select(_mm512_set1_epi8(static_cast<char>(mask)), a, b);
}

// Lane i <- lane i ^ kStride.
template <int kStride>
[[gnu::always_inline]] inline __m512 Exchange(__m512 x) {
  if constexpr (kStride == 1) return _mm512_permute_ps(x, 0xB1);
  if constexpr (kStride == 2) return _mm512_permute_ps(x, 0x4E);
  if constexpr (kStride == 4) return _mm512_shuffle_f32x4(x, x, 0xB1);
  return _mm512_shuffle_f32x4(x, x, 0x4E);
}

// 1, and -1 in the lanes in which kStride is set.
template <int kStride>
[[gnu::always_inline]] inline __m512 UpperSigns() {
  alignas(64) static constexpr float kSigns[16] = {
      1,
      1 & kStride ? -1.0f : 1,  2 & kStride ? -1.0f : 1,  3 & kStride ? -1.0f : 1,  4 & kStride ? -1.0f : 1,
      5 & kStride ? -1.0f : 1,  6 & kStride ? -1.0f : 1,  7 & kStride ? -1.0f : 1,  8 & kStride ? -1.0f : 1,
      9 & kStride ? -1.0f : 1,  10 & kStride ? -1.0f : 1, 11 & kStride ? -1.0f : 1, 12 & kStride ? -1.0f : 1,
      13 & kStride ? -1.0f : 1, 14 & kStride ? -1.0f : 1, 15 & kStride ? -1.0f : 1};
  return _mm512_load_ps(kSigns);
}

// Lanes i and i + kStride become their sum and difference. The product is by 1 or -1: exact, so that fma rounds as addition.
template <int kStride, int kCount>
[[gnu::always_inline]] inline void ButterflyInside(__m512* x) {
  const __m512 signs = UpperSigns<kStride>();
  for (int i = 0; i < kCount; ++i) x[i] = _mm512_fmadd_ps(x[i], signs, Exchange<kStride>(x[i]));
}

template <int kStride, int kCount>
[[gnu::always_inline]] inline void ButterflyAcross(__m512* x) {
  for (int i = 0; i < kCount; ++i) {
    if ((i & kStride) != 0) continue;
    const __m512 a = x[i], b = x[i + kStride];
    x[i] = _mm512_add_ps(a, b);
    x[i + kStride] = _mm512_sub_ps(a, b);
  }
}

// Un-normalised Hadamard transforms of each kBlock of kCount registers.
template <int kCount, int kBlock>
[[gnu::always_inline]] inline void HadamardRow(__m512* x) {
  ButterflyAcross<1, kCount>(x);
  ButterflyInside<1, kCount>(x);
  ButterflyInside<2, kCount>(x);
  ButterflyInside<4, kCount>(x);
  ButterflyInside<8, kCount>(x);
  if constexpr (kBlock > 2) ButterflyAcross<2, kCount>(x);
  if constexpr (kBlock > 4) ButterflyAcross<4, kCount>(x);
  if constexpr (kBlock > 8) ButterflyAcross<8, kCount>(x);
}

// Lane i of the result: the sum over the lanes of in[i], neighbours first, then neighbouring pairs, and so on.
[[gnu::always_inline]] inline __m512 SumEach(const __m512 in[16]) {
  __m512 a[8], b[4], c[2];
  for (int i = 0; i < 8; ++i) {
    a[i] = _mm512_add_ps(_mm512_shuffle_ps(in[2 * i], in[2 * i + 1], 0x88),
                         _mm512_shuffle_ps(in[2 * i], in[2 * i + 1], 0xDD));
  }
  for (int i = 0; i < 4; ++i) {
    b[i] = _mm512_add_ps(_mm512_shuffle_ps(a[2 * i], a[2 * i + 1], 0x88),
                         _mm512_shuffle_ps(a[2 * i], a[2 * i + 1], 0xDD));
  }
  for (int i = 0; i < 2; ++i) {
    c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xDD));
  }
  return _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xDD));
}

// 128-bit lane j of out[i] <- lane i of in[j].
[[gnu::always_inline]] inline void TransposeLanes(const __m512i in[4], __m512i out[4]) {
  const __m512i a = _mm512_shuffle_i32x4(in[0], in[1], 0x44), b = _mm512_shuffle_i32x4(in[0], in[1], 0xEE);
  const __m512i c = _mm512_shuffle_i32x4(in[2], in[3], 0x44), d = _mm512_shuffle_i32x4(in[2], in[3], 0xEE);
  out[0] = _mm512_shuffle_i32x4(a, c, 0x88);
  out[1] = _mm512_shuffle_i32x4(a, c, 0xDD);
  out[2] = _mm512_shuffle_i32x4(b, d, 0x88);
  out[3] = _mm512_shuffle_i32x4(b, d, 0xDD);
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AVX512_ROWS_H_
