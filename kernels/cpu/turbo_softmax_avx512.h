// What softmax needs on vectors of 16 scores: 2^x, the scales of a tile in score order (kScoreOrder), reductions of several rows. For
// sources compiled with AVX-512 and VBMI.
#ifndef POLARKV_KERNELS_CPU_TURBO_SOFTMAX_AVX512_H_
#define POLARKV_KERNELS_CPU_TURBO_SOFTMAX_AVX512_H_

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "codec/block_format.h"
#include "kernels/cpu/turbo_attention.h"

namespace polarkv::cpu {
namespace {

constexpr float kWeightMax = 255.0f;

// 2^x for x <= 0, up to rounding; below 2^-126 that, which no weight and no sum notices, for NaN too. Relative error below
// 3e-6: the polynomial of degree 4 whose largest relative error on [-1/2, 1/2] is least.
[[gnu::always_inline]] inline __m512 Exp2(__m512 x) {
  const __m512 to_integer = _mm512_set1_ps(0x1.8p23f);  // adding it leaves the nearest integer in the low bits
  x = _mm512_max_ps(x, _mm512_set1_ps(-126.0f));
  const __m512 shifted = _mm512_add_ps(x, to_integer);
  const __m512 f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, to_integer));
  __m512 y = _mm512_set1_ps(9.57010201e-3f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.59178603e-2f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.40247448e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.93121815e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.99999261e-1f));
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), _mm512_slli_epi32(_mm512_castps_si512(shifted), 23)));
}

// Sixty-four codes of scales in score order; codec/log_scale.h has their arithmetic.
struct ScaleSteps {
  __m512i step[4];        // 1/64 octave
  __mmask16 nonzero[4];
  int largest;
};

[[gnu::always_inline]] inline ScaleSteps LoadSteps(const uint8_t* codes, int base, int shift) {
  const __m512i all = _mm512_loadu_si512(codes);
  const __m128i count = _mm_cvtsi32_si128(shift & 7);
  ScaleSteps out;
  __m512i largest = _mm512_setzero_si512();
  for (int i = 0; i < 4; ++i) {
    const __m512i order =
        _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(&kScoreOrder.token[16 * i])));
    const __m512i code = _mm512_and_si512(_mm512_permutexvar_epi8(order, all), _mm512_set1_epi32(0xFF));
    largest = _mm512_max_epi32(largest, code);
    out.nonzero[i] = _mm512_test_epi32_mask(code, code);
    out.step[i] = _mm512_sll_epi32(_mm512_add_epi32(code, _mm512_set1_epi32(base)), count);
  }
  const int code = _mm512_reduce_max_epi32(largest);
  out.largest = code == 0 ? 0 : (base + code) * (1 << (shift & 7));
  return out;
}

// The scales over 2^octaves, which is what keeps them inside fp32.
[[gnu::always_inline]] inline void ToScales(const ScaleSteps& steps, const float* octave, int octaves, __m512 out[4]) {
  __m512 table[4];
  for (int i = 0; i < 4; ++i) table[i] = _mm512_loadu_ps(octave + 16 * i);
  for (int i = 0; i < 4; ++i) {
    const __m512 low = _mm512_permutex2var_ps(table[0], steps.step[i], table[1]);
    const __mmask16 upper = _mm512_test_epi32_mask(steps.step[i], _mm512_set1_epi32(32));
    const __m512 mantissa = _mm512_mask_blend_ps(upper, low, _mm512_permutex2var_ps(table[2], steps.step[i], table[3]));
    const __m512i exponent = _mm512_sub_epi32(_mm512_srai_epi32(steps.step[i], 6), _mm512_set1_epi32(octaves));
    out[i] = _mm512_maskz_scalef_ps(steps.nonzero[i], mantissa, _mm512_cvtepi32_ps(exponent));
  }
}

// What one tile's tokens share, in score order.
struct TileScales {
  __m512 key[4];
  __m512 value[4];    // relative to the largest, times kWeightMax
  float value_unit;   // what a weight of one stands for, of a token whose probability is the tile's largest
  uint32_t valid;     // tokens
  __mmask16 past[4];  // the others
};

inline TileScales ReadTileScales(const TurboTiles& tiles, uint32_t tile) {
  const uint8_t* base = tiles.base + uint64_t{tile} * tiles.base_stride;
  TileHead head;
  std::memcpy(&head, base, sizeof head);
  TileScales out;
  // A key's scale that fp32 cannot hold is too small to move any logit, or so large that the result is not finite.
  ToScales(LoadSteps(base + tiles.key_scales, head.k_exponent, head.k_shift), tiles.octave, 0, out.key);
  const ScaleSteps values = LoadSteps(base + tiles.value_scales, head.v_exponent, head.v_shift);
  ToScales(values, tiles.octave, values.largest >> 6, out.value);
  const float largest = tiles.octave[values.largest & 63];
  const __m512 to_weight = _mm512_set1_ps(kWeightMax / largest);
  for (int i = 0; i < 4; ++i) out.value[i] = _mm512_mul_ps(out.value[i], to_weight);
  out.value_unit = ldexpf(largest / kWeightMax, values.largest >> 6);
  const uint32_t left = tiles.tokens - tile * kTileTokens;
  out.valid = left < kTileTokens ? left : kTileTokens;
  for (int i = 0; i < 4; ++i) {
    const __m512i token = _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(&kScoreOrder.token[16 * i])));
    out.past[i] = _mm512_cmpge_epu32_mask(token, _mm512_set1_epi32(static_cast<int>(out.valid)));
  }
  return out;
}

// One number a row, from one vector a row.
template <int kRows, typename Combine, typename Reduce>
[[gnu::always_inline]] inline void ReduceRows(const __m512* in, Combine combine, Reduce reduce, float* out) {
  if constexpr (kRows == 4) {
    const __m512 a = combine(_mm512_unpacklo_ps(in[0], in[1]), _mm512_unpackhi_ps(in[0], in[1]));
    const __m512 b = combine(_mm512_unpacklo_ps(in[2], in[3]), _mm512_unpackhi_ps(in[2], in[3]));
    const __m512 lanes = combine(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xEE));
    const __m512 halves = combine(lanes, _mm512_shuffle_f32x4(lanes, lanes, 0x4E));
    const __m512 all = combine(halves, _mm512_shuffle_f32x4(halves, halves, 0xB1));
    _mm_storeu_ps(out, _mm512_castps512_ps128(all));
  } else {
    for (int r = 0; r < kRows; ++r) out[r] = reduce(in[r]);
  }
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_SOFTMAX_AVX512_H_
