// Sines and cosines of up to an eighth of a turn, as codec/rope_phase.h computes them (FORMAT.md, "Key means").
//
// Only for files that are compiled for AVX-512.
#ifndef POLARKV_KERNELS_CPU_SINE_COSINE_AVX512_H_
#define POLARKV_KERNELS_CPU_SINE_COSINE_AVX512_H_

#include <immintrin.h>

namespace polarkv::cpu {

// turns: -1/8 to 1/8.
[[gnu::always_inline]] inline void SineCosine(__m512 turns, __m512& sine, __m512& cosine) {
  const __m512 v = _mm512_mul_ps(turns, turns);
  __m512 s = _mm512_fmadd_ps(_mm512_set1_ps(-0x1.2d9b4p+6f), v, _mm512_set1_ps(0x1.465ec4p+6f));
  s = _mm512_fmadd_ps(s, v, _mm512_set1_ps(-0x1.4abbbap+5f));
  sine = _mm512_mul_ps(turns, _mm512_fmadd_ps(s, v, _mm512_set1_ps(0x1.921fb6p+2f)));
  __m512 c = _mm512_fmadd_ps(_mm512_set1_ps(0x1.d9c2e8p+5f), v, _mm512_set1_ps(-0x1.55c57ap+6f));
  c = _mm512_fmadd_ps(c, v, _mm512_set1_ps(0x1.03c1dcp+6f));
  c = _mm512_fmadd_ps(c, v, _mm512_set1_ps(-0x1.3bd3ccp+4f));
  cosine = _mm512_fmadd_ps(c, v, _mm512_set1_ps(1.0f));
}

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_SINE_COSINE_AVX512_H_
