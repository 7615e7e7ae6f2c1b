// Rows of coordinates in registers: register 2 i has the even ones of 32 i .. 32 i + 31, register 2 i + 1 the odd ones, so
// that 16-bit numbers become floats by a shift or a mask. Hadamard transforms and sums in the order of FORMAT.md ("Rotated
// vectors"), and 4x4 transpositions of 128-bit lanes. For sources compiled with AVX-512.
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

// A stage of a Hadamard transform of 16-bit numbers: sums and differences of what `low` and `high` take of a and b.
#define POLARKV_HADAMARD_STAGE(a, b, low, high)              \
  {                                                          \
    const __m512i low_part = low, high_part = high;          \
    a = _mm512_add_epi16(low_part, high_part);               \
    b = _mm512_sub_epi16(low_part, high_part);               \
  }

// Sums and differences of registers `stride` apart.
template <int kCount>
[[gnu::always_inline]] inline void HadamardAcross(__m512i* x, int stride) {
  for (int i = 0; i < kCount; ++i) {
    if ((i & stride) == 0) POLARKV_HADAMARD_STAGE(x[i], x[i + stride], x[i], x[i + stride])
  }
}

// The five stages within registers, of two registers that the stage before has made, as its sums and its differences: two
// shuffles bring together what is to be added, and the results of the stage before are told apart by their places. Let the
// bits of a word's place be p4 .. p0 and r that of its register: stages transform p2, p1, p0, p4, p3 in this order, and what
// was in (p4 p3 p2 p1 p0; r) is in (p4 p0 r p2 p1; p3) afterwards.
// Stage by stage over all kCount registers, pair by pair, so that instructions that follow each other are independent.
template <int kCount>
[[gnu::always_inline]] inline void HadamardInside(__m512i* x) {
  for (int stage = 0; stage < 3; ++stage) {
    for (int i = 0; i < kCount; i += 2) {
      POLARKV_HADAMARD_STAGE(x[i], x[i + 1], _mm512_unpacklo_epi16(x[i], x[i + 1]), _mm512_unpackhi_epi16(x[i], x[i + 1]))
    }
  }
  for (int i = 0; i < kCount; i += 2) {
    POLARKV_HADAMARD_STAGE(x[i], x[i + 1], _mm512_shuffle_i64x2(x[i], x[i + 1], 0x44), _mm512_shuffle_i64x2(x[i], x[i + 1], 0xEE))
  }
  for (int i = 0; i < kCount; i += 2) {
    POLARKV_HADAMARD_STAGE(x[i], x[i + 1], _mm512_shuffle_i64x2(x[i], x[i + 1], 0x88), _mm512_shuffle_i64x2(x[i], x[i + 1], 0xDD))
  }
}
#undef POLARKV_HADAMARD_STAGE

// Lane i of the result: the sum over the lanes of in[i], neighbours first, then neighbouring pairs, and so on.
template <typename Add>
[[gnu::always_inline]] inline __m512 SumLanes(const __m512 in[16], Add add) {
  __m512 a[8], b[4], c[2];
  for (int i = 0; i < 8; ++i) {
    a[i] = add(_mm512_shuffle_ps(in[2 * i], in[2 * i + 1], 0x88), _mm512_shuffle_ps(in[2 * i], in[2 * i + 1], 0xDD));
  }
  for (int i = 0; i < 4; ++i) {
    b[i] = add(_mm512_shuffle_ps(a[2 * i], a[2 * i + 1], 0x88), _mm512_shuffle_ps(a[2 * i], a[2 * i + 1], 0xDD));
  }
  for (int i = 0; i < 2; ++i) {
    c[i] = add(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88), _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xDD));
  }
  return add(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xDD));
}
[[gnu::always_inline]] inline __m512 SumEach(const __m512 in[16]) {
  return SumLanes(in, [](__m512 x, __m512 y) __attribute__((always_inline)) { return _mm512_add_ps(x, y); });
}
[[gnu::always_inline]] inline __m512i SumEachInteger(const __m512i in[16]) {
  __m512 lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = _mm512_castsi512_ps(in[i]);
  return _mm512_castps_si512(SumLanes(lanes, [](__m512 x, __m512 y) __attribute__((always_inline)) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_castps_si512(y)));
  }));
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
