// What lies between a tile's integer scores and its values: scales, softmax, weights of 8 bits. For sources compiled with AVX-512
// and VBMI.
#ifndef POLARKV_KERNELS_CPU_TILE_SOFTMAX_AVX512_H_
#define POLARKV_KERNELS_CPU_TILE_SOFTMAX_AVX512_H_

#include <cmath>
#include <cstring>

#include "codec/block_format.h"
#include "kernels/cpu/logit_range.h"
#include "kernels/cpu/tile_scores_avx512.h"

namespace polarkv::cpu {
namespace {

inline constexpr float kWeightMax = 255.0f;

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
  __m512i step[4];        // 1/kScaleStepsPerOctave octave
  __mmask16 nonzero[4];
  int largest;
};

inline constexpr int kStepBits = __builtin_ctz(kScaleStepsPerOctave);

[[gnu::always_inline]] inline __m512i ScoreOrderTokens(int i) {
  return _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(&kScoreOrder.token[16 * i])));
}

[[gnu::always_inline]] inline ScaleSteps LoadSteps(const uint8_t* codes, int base, int shift) {
  const __m512i all = _mm512_permutexvar_epi8(_mm512_load_si512(kScoreOrder.token), _mm512_loadu_si512(codes));
  const __m128i part[4] = {_mm512_castsi512_si128(all), _mm512_extracti32x4_epi32(all, 1), _mm512_extracti32x4_epi32(all, 2),
                           _mm512_extracti32x4_epi32(all, 3)};
  const __m128i count = _mm_cvtsi32_si128(shift & 7);
  ScaleSteps out;
  for (int i = 0; i < 4; ++i) {
    const __m512i code = _mm512_cvtepu8_epi32(part[i]);
    out.nonzero[i] = _mm512_test_epi32_mask(code, code);
    out.step[i] = _mm512_sll_epi32(_mm512_add_epi32(code, _mm512_set1_epi32(base)), count);
  }
  // The largest byte is 255 less the least of the complements: pairs of bytes, then the one minimum of eight words there is.
  const __m128i most = _mm_max_epu8(_mm_max_epu8(part[0], part[1]), _mm_max_epu8(part[2], part[3]));
  const __m128i pairs = _mm_max_epu8(most, _mm_srli_epi16(most, 8));
  const __m128i complements = _mm_xor_si128(_mm_and_si128(pairs, _mm_set1_epi16(0xFF)), _mm_set1_epi16(0xFF));
  const int code = 0xFF - (_mm_cvtsi128_si32(_mm_minpos_epu16(complements)) & 0xFF);
  out.largest = code == 0 ? 0 : (base + code) * (1 << (shift & 7));
  return out;
}

// The scales over 2^octaves, which is what keeps them inside fp32.
[[gnu::always_inline]] inline void ToScales(const ScaleSteps& steps, const float* octave, int octaves, __m512 out[4]) {
  const __m512 a = _mm512_loadu_ps(octave), b = _mm512_loadu_ps(octave + 16);
  for (int i = 0; i < 4; ++i) {
    __m512 mantissa = _mm512_permutex2var_ps(a, steps.step[i], b);
    if constexpr (kScaleStepsPerOctave == 64) {
      const __mmask16 upper = _mm512_test_epi32_mask(steps.step[i], _mm512_set1_epi32(32));
      const __m512 c = _mm512_loadu_ps(octave + 32), d = _mm512_loadu_ps(octave + 48);
      mantissa = _mm512_mask_mov_ps(mantissa, upper, _mm512_permutex2var_ps(c, steps.step[i], d));
    }
    const __m512i exponent = _mm512_sub_epi32(_mm512_srai_epi32(steps.step[i], kStepBits), _mm512_set1_epi32(octaves));
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

// Not inlined: its temporaries would push the products' sums out of registers.
[[gnu::noinline]] inline void ReadTileScales(const TurboTiles& tiles, uint32_t tile, TileScales& out) {
  const uint8_t* base = tiles.base + uint64_t{tile} * tiles.base_stride;
  TileHead head;
  std::memcpy(&head, base, sizeof head);
  // A key's scale below fp32 is too small to move any logit (logit_range.h).
  ToScales(LoadSteps(base + tiles.key_scales, head.k_exponent, head.k_shift), tiles.octave, 0, out.key);
  const ScaleSteps values = LoadSteps(base + tiles.value_scales, head.v_exponent, head.v_shift);
  const int octaves = values.largest >> kStepBits;
  ToScales(values, tiles.octave, octaves, out.value);
  const float largest = tiles.octave[values.largest & (kScaleStepsPerOctave - 1)];
  const __m512 to_weight = _mm512_set1_ps(kWeightMax / largest);
  for (int i = 0; i < 4; ++i) out.value[i] = _mm512_mul_ps(out.value[i], to_weight);
  const __m128 unit = _mm_set_ss(largest * (1 / kWeightMax));
  out.value_unit = _mm_cvtss_f32(_mm_scalef_ss(unit, _mm_set_ss(static_cast<float>(octaves))));
  if (KeyScalesBeyondRange(base + tiles.key_scales, head.k_exponent, head.k_shift)) out.value_unit = __builtin_nanf("");
  const uint32_t left = tiles.tokens - tile * kTileTokens;
  out.valid = left < kTileTokens ? left : kTileTokens;
  if (out.valid == kTileTokens) return;
  for (int i = 0; i < 4; ++i) {
    out.past[i] = _mm512_cmpge_epu32_mask(ScoreOrderTokens(i), _mm512_set1_epi32(static_cast<int>(out.valid)));
  }
}

// Raises a row's reference for its logits; everything summed so far shrinks, `pending` weights' unit with it. From a logit
// that fp32 cannot hold on, the sum is a NaN and stays one.
[[gnu::noinline]] inline void RaiseMax(float top, uint32_t head_dim, TurboRowState& state, float& pending) {
  if (state.sum == 0) {
    state.max = top;
  } else if (top > state.max) {
    const float shrink = exp2f(state.max - top);
    state.max = top;
    state.sum *= shrink;
    pending *= shrink;
    for (uint32_t i = 0; i < 2 * head_dim; ++i) state.output[i] *= shrink;
  }
  if (!(top <= FLT_MAX)) state.sum = __builtin_nanf("");
}

// One number a row, from one vector a row.
template <int kRows, typename Combine, typename Reduce>
[[gnu::always_inline]] inline void ReduceRows(const __m512* in, Combine combine, Reduce reduce, float* out) {
  if constexpr (kRows >= 3) {
    const __m512 last = in[kRows - 1];
    const __m512 a = combine(_mm512_unpacklo_ps(in[0], in[1]), _mm512_unpackhi_ps(in[0], in[1]));
    const __m512 b = combine(_mm512_unpacklo_ps(in[2], last), _mm512_unpackhi_ps(in[2], last));
    const __m512 lanes = combine(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xEE));
    const __m512 halves = combine(lanes, _mm512_shuffle_f32x4(lanes, lanes, 0x4E));
    const __m512 all = combine(halves, _mm512_shuffle_f32x4(halves, halves, 0xB1));
    _mm_storeu_ps(out, _mm512_castps512_ps128(all));
  } else {
    for (int r = 0; r < kRows; ++r) out[r] = reduce(in[r]);
  }
}

// Integer scores -> 8-bit weights for the values, in the values' order, and what a weight of one stands for. A weight is
// a token's probability, relative to the tile's largest, times its value's scale, relative to the tile's largest.
// `units`: of the rows' logits. `pending`: the units of weights of the same rows that are not yet in the output.
template <int kRows, bool kExtras>
[[gnu::always_inline]] inline void SoftmaxRows(const RowScores* scores, const TileScales& scales, uint32_t head_dim,
                                               const float* units, TurboRowState* states, const TurboExtras& extras,
                                               float* pending, int32_t (*weights)[16], float* factor) {
  __m512 logits[kRows][4], best[kRows], sums[kRows];
  const bool whole_tile = scales.valid == kTileTokens;
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < 4; ++i) {
      logits[r][i] = _mm512_mul_ps(_mm512_cvtepi32_ps(scores[r][i]), scales.key[i]);
      if constexpr (kExtras) {
        logits[r][i] = _mm512_fmadd_ps(logits[r][i], _mm512_set1_ps(units[r]),
                                       _mm512_loadu_ps(extras.added + 64 * r + 16 * i));
      }
      if (!whole_tile) logits[r][i] = _mm512_mask_mov_ps(logits[r][i], scales.past[i], _mm512_set1_ps(-__builtin_inff()));
    }
    best[r] = _mm512_max_ps(_mm512_max_ps(logits[r][0], logits[r][1]), _mm512_max_ps(logits[r][2], logits[r][3]));
  }
  alignas(64) float top[16] = {}, share[16] = {}, sum[16];
  ReduceRows<kRows>(best, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); },
                    [](__m512 x) { return _mm512_reduce_max_ps(x); }, top);
  for (int r = 0; r < kRows; ++r) {
    if constexpr (!kExtras) top[r] *= units[r];
    if (states[r].sum == 0 || top[r] > states[r].max) RaiseMax(top[r], head_dim, states[r], pending[r]);
    share[r] = top[r] - states[r].max;
  }
  for (int r = 0; r < kRows; ++r) {
    const __m512 unit = _mm512_set1_ps(kExtras ? 1.0f : units[r]), minus_top = _mm512_set1_ps(-top[r]);
    __m512i whole[4];
    sums[r] = _mm512_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      __m512 p = Exp2(_mm512_fmadd_ps(logits[r][i], unit, minus_top));
      if (!whole_tile) p = _mm512_mask_mov_ps(p, scales.past[i], _mm512_setzero_ps());
      if (kExtras && extras.probability != nullptr) _mm512_storeu_ps(extras.probability + 64 * r + 16 * i, p);
      sums[r] = _mm512_add_ps(sums[r], p);
      whole[i] = _mm512_cvtps_epi32(_mm512_mul_ps(p, scales.value[i]));
    }
    const __m512i bytes =
        _mm512_packus_epi16(_mm512_packs_epi32(whole[0], whole[1]), _mm512_packs_epi32(whole[2], whole[3]));
    _mm512_store_si512(weights[r], _mm512_permutexvar_epi8(_mm512_load_si512(kScoreOrder.packed_weight_source), bytes));
  }
  ReduceRows<kRows>(sums, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); },
                    [](__m512 x) { return _mm512_reduce_add_ps(x); }, sum);
  _mm512_store_ps(share, Exp2(_mm512_load_ps(share)));
  for (int r = 0; r < kRows; ++r) {
    states[r].sum += share[r] * sum[r];
    factor[r] = share[r] * scales.value_unit;
    if (kExtras && extras.probability != nullptr) {
      for (uint32_t t = 0; t < kTileTokens; ++t) extras.probability[64 * r + t] *= share[r];
    }
  }
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TILE_SOFTMAX_AVX512_H_
