// Nibble words out of the bit planes and centroids out of nibbles (codec/code_order.h). For sources compiled with AVX-512
// and VBMI.
#ifndef POLARKV_KERNELS_CPU_TURBO_WORDS_AVX512_H_
#define POLARKV_KERNELS_CPU_TURBO_WORDS_AVX512_H_

#include "kernels/cpu/avx512_rows.h"
#include "kernels/cpu/turbo_table.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kLineBytes = 64;
constexpr uint32_t kLinesPerVector = 8;  // 32 lanes of 16 bytes

[[gnu::always_inline]] inline __m512i Load(const uint8_t* p) { return _mm512_loadu_si512(p); }

[[gnu::always_inline]] inline void LoadTable(const TurboTable& table, __m512i out[4]) {
  for (int w = 0; w < 4; ++w) out[w] = _mm512_load_si512(table.entry[w]);
}

// Four nibble words from the words in the same place of both vectors and the refinement planes.
template <int kBits>
[[gnu::always_inline]] inline void Assemble(const uint8_t* crumbs, const uint8_t* refine1, const uint8_t* refine0, __m512i u[4]) {
  const __m512i low_crumbs = _mm512_set1_epi8(0x33);
  const __m512i a = Load(crumbs);
  const __m512i b = Load(crumbs + kLinesPerVector * kLineBytes);
  if constexpr (kBits == 2) {
    u[0] = u[1] = a;
    u[2] = u[3] = b;
    return;
  }
  const __m512i p1 = Load(refine1);
  __m512i za = p1, zb = p1;
  if constexpr (kBits == 4) {
    const __m512i even_bits = _mm512_set1_epi8(0x55);
    const __m512i p0 = Load(refine0);
    za = Select(even_bits, p1, p0);
    zb = Select(even_bits, p0, p1);
  }
  u[0] = Select(low_crumbs, a, za);
  u[1] = Select(low_crumbs, za, a);
  u[2] = Select(low_crumbs, b, zb);
  u[3] = Select(low_crumbs, zb, b);
}

// Decodes one place of both vectors: bytes[word][high nibble], each dword four codes of one row.
template <int kBits>
[[gnu::always_inline]] inline void Decode(const __m512i table[4], const uint8_t* crumbs, const uint8_t* refine1, const uint8_t* refine0,
                   __m512i bytes[4][2]) {
  __m512i u[4];
  Assemble<kBits>(crumbs, refine1, refine0, u);
  for (int w = 0; w < 4; ++w) {
    bytes[w][0] = _mm512_permutexvar_epi8(u[w], table[w]);
    bytes[w][1] = _mm512_permutexvar_epi8(_mm512_srli_epi32(u[w], 4), table[w]);
  }
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_WORDS_AVX512_H_
