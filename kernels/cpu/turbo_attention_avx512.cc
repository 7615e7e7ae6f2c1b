// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "codec/block_format.h"
#include "kernels/cpu/turbo_attention.h"
#include "kernels/cpu/turbo_words_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr float kProbabilityMax = 255.0f;
constexpr uint32_t kRowsTogether = 4;

// Integer scores of one tile for kRows queries. Score vector 2*e3 + T1 holds, in lane (T0, e1, e2, e0), token
// 16*(2*T1+T0) + e, e = (e3 e2 e1 e0).
template <int kBits, int kRows>
void Scores(const __m512i table[4], const TurboTiles& tiles, uint32_t tile, const TurboQuery* queries,
            __m512i scores[kRows][4]) {
  const uint32_t groups = tiles.head_dim / 64;
  const uint8_t* crumbs = tiles.base + uint64_t{tile} * tiles.base_stride + tiles.key_crumbs;
  const uint8_t* refine1 = kBits >= 3 ? tiles.key_refine[0] + uint64_t{tile} * tiles.refine_stride : nullptr;
  const uint8_t* refine0 = kBits == 4 ? tiles.key_refine[1] + uint64_t{tile} * tiles.refine_stride : nullptr;
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < 4; ++i) scores[r][i] = _mm512_set1_epi32(-128 * queries[r].sum);
  }
  for (uint32_t group = 0; group < groups; ++group) {
    for (uint32_t e = 0; e < 2; ++e) {
      for (uint32_t quarter = 0; quarter < 4; ++quarter) {
        const uint32_t line = (4 * e + quarter) * kLineBytes;
        const uint32_t refine_line = group * kLinesPerVector * kLineBytes + line;
        __m512i bytes[4][2];
        Decode<kBits>(table, crumbs + group * 2 * kLinesPerVector * kLineBytes + line,
                      kBits >= 3 ? refine1 + refine_line : nullptr, kBits == 4 ? refine0 + refine_line : nullptr, bytes);
        for (int r = 0; r < kRows; ++r) {
          const int32_t* words = queries[r].words + 4 * (quarter * groups + group);
          for (int w = 0; w < 4; ++w) {
            __m512i& sum = scores[r][2 * (w / 2) + e];
            sum = _mm512_dpbusd_epi32(sum, bytes[w][0], _mm512_set1_epi32(words[2 * (w % 2)]));
            sum = _mm512_dpbusd_epi32(sum, bytes[w][1], _mm512_set1_epi32(words[2 * (w % 2) + 1]));
          }
        }
      }
    }
  }
}

// Adds the tile's values, weighted, to each row's output: lane order is dim order.
template <int kBits, int kRows>
void AddValues(const __m512i table[4], const TurboTiles& tiles, uint32_t tile, const int32_t weights[kRows][16],
               const float factor[kRows], TurboRowState* states) {
  const uint8_t* crumbs = tiles.base + uint64_t{tile} * tiles.base_stride + tiles.value_crumbs;
  const uint8_t* refine1 = kBits >= 3 ? tiles.value_refine[0] + uint64_t{tile} * tiles.refine_stride : nullptr;
  const uint8_t* refine0 = kBits == 4 ? tiles.value_refine[1] + uint64_t{tile} * tiles.refine_stride : nullptr;
  for (uint32_t group = 0; group < tiles.head_dim / 64; ++group) {
    __m512i sums[kRows][4];
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < 4; ++i) sums[r][i] = _mm512_setzero_si512();
    }
    for (uint32_t e = 0; e < 2; ++e) {
      for (uint32_t quarter = 0; quarter < 4; ++quarter) {
        const uint32_t line = (4 * e + quarter) * kLineBytes;
        const uint32_t refine_line = group * kLinesPerVector * kLineBytes + line;
        __m512i bytes[4][2];
        Decode<kBits>(table, crumbs + group * 2 * kLinesPerVector * kLineBytes + line,
                      kBits >= 3 ? refine1 + refine_line : nullptr, kBits == 4 ? refine0 + refine_line : nullptr, bytes);
        for (int r = 0; r < kRows; ++r) {
          const int32_t* words = weights[r] + 4 * quarter;
          for (int w = 0; w < 4; ++w) {
            __m512i& sum = sums[r][2 * (w / 2) + e];
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(words[2 * (w % 2)]), bytes[w][0]);
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(words[2 * (w % 2) + 1]), bytes[w][1]);
          }
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      float* output = states[r].output + 64 * group;
      for (int i = 0; i < 4; ++i) {
        const __m512 old = _mm512_loadu_ps(output + 16 * i);
        _mm512_storeu_ps(output + 16 * i, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][i]), _mm512_set1_ps(factor[r]), old));
      }
    }
  }
}

// 2^x for x <= 0. Relative error below 2e-7 (degree-6 Taylor polynomial on [-1/2, 1/2]). For -inf, the logit of a token
// past the end, the polynomial is NaN, and scalef gives NaN * 2^-inf as 0.
inline __m512 Exp2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, whole);
  __m512 y = _mm512_set1_ps(1.5403530e-4f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.3333558e-3f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.6181291e-3f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.5504109e-2f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.4022651e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.9314718e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(y, whole);
}

// Sixty-four fp16 scales, from token order to score order.
inline void LoadScales(const uint8_t* scales, __m512 out[4]) {
  const __m512i index = _mm512_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7, 16, 17, 20, 21, 18, 19, 22, 23);
  const __m512i upper = _mm512_set1_epi32(8);
  __m512 natural[4];
  for (int t = 0; t < 4; ++t) {
    natural[t] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales + 32 * t)));
  }
  for (int t1 = 0; t1 < 2; ++t1) {
    out[t1] = _mm512_permutex2var_ps(natural[2 * t1], index, natural[2 * t1 + 1]);
    out[2 + t1] = _mm512_permutex2var_ps(natural[2 * t1], _mm512_or_si512(index, upper), natural[2 * t1 + 1]);
  }
}

// What one tile's tokens share.
struct TileScales {
  __m512 key[4], value[4];  // in score order
  float key_unit, value_unit;
  uint32_t valid;  // tokens
};

inline TileScales ReadTileScales(const TurboTiles& tiles, uint32_t tile) {
  const uint8_t* base = tiles.base + uint64_t{tile} * tiles.base_stride;
  TileHead head;
  std::memcpy(&head, base, sizeof head);
  TileScales out;
  LoadScales(base + tiles.key_scales, out.key);
  LoadScales(base + tiles.value_scales, out.value);
  out.key_unit = ldexpf(1.0f, head.k_exponent);
  out.value_unit = ldexpf(1.0f, head.v_exponent);
  const uint32_t left = tiles.tokens - tile * kTileTokens;
  out.valid = left < kTileTokens ? left : kTileTokens;
  return out;
}

// Integer scores to logits, in place of each other's bits; returns the largest. Tokens past the end get -inf.
inline float Logits(const __m512i scores[4], const TileScales& scales, float unit, __m512 logits[4]) {
  for (int i = 0; i < 4; ++i) {
    const __m512 scale = _mm512_mul_ps(scales.key[i], _mm512_set1_ps(unit));
    logits[i] = _mm512_mul_ps(_mm512_cvtepi32_ps(scores[i]), scale);
    if (scales.valid < kTileTokens) {
      const __m512i token =
          _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(&kScoreOrder.token[16 * i])));
      const __mmask16 past = _mm512_cmpge_epu32_mask(token, _mm512_set1_epi32(static_cast<int>(scales.valid)));
      logits[i] = _mm512_mask_mov_ps(logits[i], past, _mm512_set1_ps(-__builtin_inff()));
    }
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(logits[0], logits[1]), _mm512_max_ps(logits[2], logits[3])));
}

// Raises a row's reference for its logits; everything summed so far shrinks.
inline void RaiseMax(float top, uint32_t head_dim, TurboRowState& state) {
  if (state.sum == 0) {
    state.max = top;
  } else if (top > state.max) {
    const float shrink = exp2f(state.max - top);
    state.max = top;
    state.sum *= shrink;
    for (uint32_t i = 0; i < head_dim; ++i) state.output[i] *= shrink;
  }
}

// Logits to 8-bit weights for the values, in the values' order; returns what a weight of one stands for.
inline float Weights(const __m512 logits[4], const TileScales& scales, TurboRowState& state, int32_t weights[16]) {
  __m512 weight[4];
  __m512 sum = _mm512_setzero_ps();
  for (int i = 0; i < 4; ++i) {
    const __m512 p = Exp2(_mm512_sub_ps(logits[i], _mm512_set1_ps(state.max)));
    sum = _mm512_add_ps(sum, p);
    weight[i] = _mm512_mul_ps(p, scales.value[i]);
  }
  state.sum += _mm512_reduce_add_ps(sum);
  const __m512 largest = _mm512_max_ps(_mm512_max_ps(weight[0], weight[1]), _mm512_max_ps(weight[2], weight[3]));
  const float weight_max = _mm512_reduce_max_ps(largest);
  const __m512 to_byte = _mm512_set1_ps(weight_max > 0 ? kProbabilityMax / weight_max : 0);
  __m512i bytes = _mm512_setzero_si512();
  for (int i = 3; i >= 0; --i) {
    const __m128i rounded = _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(weight[i], to_byte)));
    bytes = _mm512_inserti32x4(bytes, rounded, 0);
    if (i != 0) bytes = _mm512_shuffle_i32x4(bytes, bytes, 0x93);
  }
  _mm512_storeu_si512(weights, _mm512_permutexvar_epi8(_mm512_load_si512(kScoreOrder.weight_source), bytes));
  return weight_max / kProbabilityMax * scales.value_unit;
}

template <int kKeyBits, int kValueBits, int kRows>
void AttendTile(const __m512i key_table[4], const __m512i value_table[4], const TurboTiles& tiles, uint32_t tile,
                const TurboQuery* queries, TurboRowState* states) {
  const TileScales scales = ReadTileScales(tiles, tile);
  __m512i scores[kRows][4];
  Scores<kKeyBits, kRows>(key_table, tiles, tile, queries, scores);
  int32_t weights[kRows][16];
  float factor[kRows];
  for (int r = 0; r < kRows; ++r) {
    __m512 logits[4];
    RaiseMax(Logits(scores[r], scales, queries[r].scale * scales.key_unit, logits), tiles.head_dim, states[r]);
    factor[r] = Weights(logits, scales, states[r], weights[r]);
  }
  AddValues<kValueBits, kRows>(value_table, tiles, tile, weights, factor, states);
}

// Decoding is shared by up to kRowsTogether rows at a time; more would not fit the registers.
template <int kKeyBits, int kValueBits>
void AttendTiles(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                 uint32_t rows) {
  __m512i key_table[4], value_table[4];
  LoadTable(reader.key_table, key_table);
  LoadTable(reader.value_table, value_table);
  for (uint32_t tile = 0; tile * kTileTokens < tiles.tokens; ++tile) {
    uint32_t row = 0;
    for (; row + kRowsTogether <= rows; row += kRowsTogether) {
      AttendTile<kKeyBits, kValueBits, kRowsTogether>(key_table, value_table, tiles, tile, &queries[row], &states[row]);
    }
    for (; row < rows; ++row) {
      AttendTile<kKeyBits, kValueBits, 1>(key_table, value_table, tiles, tile, &queries[row], &states[row]);
    }
  }
}

template <int kKeyBits>
void AttendWithKeys(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                    TurboRowState* states, uint32_t rows) {
  if (reader.value_bits == 2) return AttendTiles<kKeyBits, 2>(reader, tiles, queries, states, rows);
  if (reader.value_bits == 3) return AttendTiles<kKeyBits, 3>(reader, tiles, queries, states, rows);
  AttendTiles<kKeyBits, 4>(reader, tiles, queries, states, rows);
}

}  // namespace

void TurboAttendAvx512(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                       TurboRowState* states, uint32_t rows) {
  if (reader.key_bits == 2) return AttendWithKeys<2>(reader, tiles, queries, states, rows);
  if (reader.key_bits == 3) return AttendWithKeys<3>(reader, tiles, queries, states, rows);
  AttendWithKeys<4>(reader, tiles, queries, states, rows);
}

}  // namespace polarkv::cpu
