// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "codec/block_format.h"
#include "kernels/cpu/turbo_attention.h"
#include "kernels/cpu/turbo_softmax_avx512.h"
#include "kernels/cpu/turbo_words_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kRowsTogether = 4;

// One side of one tile, where its lines are and how they decode.
template <int kBits>
struct SideLines {
  const __m512i* table;
  const uint8_t* crumbs;
  const uint8_t* refine1;
  const uint8_t* refine0;

  [[gnu::always_inline]] inline void Line(uint32_t group, uint32_t line, __m512i bytes[4][2]) const {
    const uint32_t refine = (group * kLinesPerVector + line) * kLineBytes;
    Decode<kBits>(table, crumbs + (group * 2 * kLinesPerVector + line) * kLineBytes, kBits >= 3 ? refine1 + refine : nullptr,
                  kBits == 4 ? refine0 + refine : nullptr, bytes);
  }
};

// The same lines, decoded already: for more rows than the registers hold.
struct DecodedLines {
  const __m512i* bytes;  // [group][line][8]

  [[gnu::always_inline]] inline void Line(uint32_t group, uint32_t line, __m512i out[4][2]) const {
    const __m512i* from = bytes + (group * kLinesPerVector + line) * 8;
    for (int i = 0; i < 8; ++i) out[i / 2][i % 2] = _mm512_load_si512(from + i);
  }
};

template <int kBits>
[[gnu::always_inline]] inline void DecodeAll(const SideLines<kBits>& lines, uint32_t groups, __m512i* out) {
  for (uint32_t i = 0; i < groups * kLinesPerVector; ++i) {
    __m512i bytes[4][2];
    lines.Line(i / kLinesPerVector, i % kLinesPerVector, bytes);
    for (int j = 0; j < 8; ++j) _mm512_store_si512(out + 8 * i + j, bytes[j / 2][j % 2]);
  }
}

// Integer scores of one tile for kRows queries. Score vector 2*e3 + T1 holds, in lane (T0, e1, e2, e0), token
// 16*(2*T1+T0) + e, e = (e3 e2 e1 e0).
template <int kRows, typename Lines>
[[gnu::always_inline]] inline void Scores(const Lines& lines, uint32_t groups, const TurboQuery* queries,
                                          __m512i scores[kRows][4]) {
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < 4; ++i) scores[r][i] = _mm512_set1_epi32(-128 * queries[r].sum);
  }
  for (uint32_t group = 0; group < groups; ++group) {
    for (uint32_t e = 0; e < 2; ++e) {
      for (uint32_t quarter = 0; quarter < 4; ++quarter) {
        __m512i bytes[4][2];
        lines.Line(group, 4 * e + quarter, bytes);
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
template <int kRows, typename Lines>
[[gnu::always_inline]] inline void AddValues(const Lines& lines, uint32_t groups, const int32_t weights[kRows][16],
                                             const float factor[kRows], TurboRowState* states) {
  for (uint32_t group = 0; group < groups; ++group) {
    __m512i sums[kRows][4];
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < 4; ++i) sums[r][i] = _mm512_setzero_si512();
    }
    for (uint32_t e = 0; e < 2; ++e) {
      for (uint32_t quarter = 0; quarter < 4; ++quarter) {
        __m512i bytes[4][2];
        lines.Line(group, 4 * e + quarter, bytes);
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

// Raises a row's reference for its logits; everything summed so far shrinks.
inline void RaiseMax(float top, uint32_t head_dim, TurboRowState& state) {
  if (state.sum == 0) {
    state.max = top;
  } else if (top > state.max) {
    const float shrink = exp2f(state.max - top);
    state.max = top;
    state.sum *= shrink;
    for (uint32_t i = 0; i < 2 * head_dim; ++i) state.output[i] *= shrink;
  }
}

// Integer scores -> 8-bit weights for the values, in the values' order, and what a weight of one stands for. A weight is
// a token's probability, relative to the tile's largest, times its value's scale, relative to the tile's largest.
template <int kRows, bool kExtras>
[[gnu::always_inline]] inline void Softmax(const __m512i scores[kRows][4], const TileScales& scales, uint32_t head_dim,
                                           const TurboQuery* queries, TurboRowState* states, const TurboExtras& extras,
                                           int32_t weights[kRows][16], float factor[kRows]) {
  __m512 logits[kRows][4], best[kRows], sums[kRows];
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < 4; ++i) {
      logits[r][i] = _mm512_mul_ps(_mm512_cvtepi32_ps(scores[r][i]), scales.key[i]);
      if constexpr (kExtras) {
        logits[r][i] = _mm512_fmadd_ps(logits[r][i], _mm512_set1_ps(queries[r].scale),
                                       _mm512_loadu_ps(extras.added + 64 * r + 16 * i));
      }
      if (scales.valid < kTileTokens) {
        logits[r][i] = _mm512_mask_mov_ps(logits[r][i], scales.past[i], _mm512_set1_ps(-__builtin_inff()));
      }
    }
    best[r] = _mm512_max_ps(_mm512_max_ps(logits[r][0], logits[r][1]), _mm512_max_ps(logits[r][2], logits[r][3]));
  }
  alignas(64) float top[16] = {}, share[16] = {}, sum[16];
  ReduceRows<kRows>(best, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); },
                    [](__m512 x) { return _mm512_reduce_max_ps(x); }, top);
  for (int r = 0; r < kRows; ++r) {
    if constexpr (!kExtras) top[r] *= queries[r].scale;
    if (states[r].sum == 0 || top[r] > states[r].max) RaiseMax(top[r], head_dim, states[r]);
    share[r] = top[r] - states[r].max;
  }
  for (int r = 0; r < kRows; ++r) {
    const __m512 unit = _mm512_set1_ps(kExtras ? 1.0f : queries[r].scale), minus_top = _mm512_set1_ps(-top[r]);
    __m512i whole[4];
    sums[r] = _mm512_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      __m512 p = Exp2(_mm512_fmadd_ps(logits[r][i], unit, minus_top));
      if (scales.valid < kTileTokens) p = _mm512_mask_mov_ps(p, scales.past[i], _mm512_setzero_ps());
      if constexpr (kExtras) _mm512_storeu_ps(extras.probability + 64 * r + 16 * i, p);
      sums[r] = _mm512_add_ps(sums[r], p);
      whole[i] = _mm512_cvtps_epi32(_mm512_mul_ps(p, scales.value[i]));
    }
    const __m512i bytes =
        _mm512_packus_epi16(_mm512_packs_epi32(whole[0], whole[1]), _mm512_packs_epi32(whole[2], whole[3]));
    _mm512_storeu_si512(weights[r], _mm512_permutexvar_epi8(_mm512_load_si512(kScoreOrder.packed_weight_source), bytes));
  }
  ReduceRows<kRows>(sums, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); },
                    [](__m512 x) { return _mm512_reduce_add_ps(x); }, sum);
  _mm512_store_ps(share, Exp2(_mm512_load_ps(share)));
  for (int r = 0; r < kRows; ++r) {
    states[r].sum += share[r] * sum[r];
    factor[r] = share[r] * scales.value_unit;
    if constexpr (kExtras) {
      for (uint32_t t = 0; t < kTileTokens; ++t) extras.probability[64 * r + t] *= share[r];
    }
  }
}

template <int kRows, bool kExtras = false, typename KeyLines, typename ValueLines>
[[gnu::always_inline]] inline void AttendRows(const KeyLines& keys, const ValueLines& values, const TileScales& scales,
                                              uint32_t head_dim, const TurboQuery* queries, TurboRowState* states,
                                              const TurboExtras& extras = {}) {
  __m512i scores[kRows][4];
  Scores<kRows>(keys, head_dim / 64, queries, scores);
  int32_t weights[kRows][16];
  float factor[kRows];
  Softmax<kRows, kExtras>(scores, scales, head_dim, queries, states, extras, weights, factor);
  AddValues<kRows>(values, head_dim / 64, weights, factor, states);
}

// Decoding is shared by kRowsTogether rows at a time; more would not fit the registers. For more, tiles are decoded to
// memory once.
template <int kKeyBits, int kValueBits>
void AttendTiles(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                 uint32_t rows, const TurboExtras* extras) {
  __m512i key_table[4], value_table[4];
  LoadTable(reader.key_table, key_table);
  LoadTable(reader.value_table, value_table);
  constexpr uint32_t kMaxGroups = 4;
  __m512i decoded[2][kMaxGroups * kLinesPerVector * 8];
  const uint32_t groups = tiles.head_dim / 64;
  for (uint32_t tile = 0; tile * kTileTokens < tiles.tokens; ++tile) {
    const uint8_t* base = tiles.base + uint64_t{tile} * tiles.base_stride;
    const uint64_t refine = uint64_t{tile} * tiles.refine_stride;
    const SideLines<kKeyBits> keys = {key_table, base + tiles.key_crumbs,
                                      kKeyBits >= 3 ? tiles.key_refine[0] + refine : nullptr,
                                      kKeyBits == 4 ? tiles.key_refine[1] + refine : nullptr};
    const SideLines<kValueBits> values = {value_table, base + tiles.value_crumbs,
                                          kValueBits >= 3 ? tiles.value_refine[0] + refine : nullptr,
                                          kValueBits == 4 ? tiles.value_refine[1] + refine : nullptr};
    const TileScales scales = ReadTileScales(tiles, tile);
    uint32_t row = 0;
    if (extras != nullptr) {
      for (; row < rows; ++row) {
        const TurboExtras of_row = {extras->added + kTileTokens * row, extras->probability + kTileTokens * row};
        AttendRows<1, true>(keys, values, scales, tiles.head_dim, &queries[row], &states[row], of_row);
      }
    } else if (rows > kRowsTogether) {
      DecodeAll(keys, groups, decoded[0]);
      DecodeAll(values, groups, decoded[1]);
      const DecodedLines all_keys = {decoded[0]}, all_values = {decoded[1]};
      for (; row + kRowsTogether <= rows; row += kRowsTogether) {
        AttendRows<kRowsTogether>(all_keys, all_values, scales, tiles.head_dim, &queries[row], &states[row]);
      }
      for (; row < rows; ++row) {
        AttendRows<1>(all_keys, all_values, scales, tiles.head_dim, &queries[row], &states[row]);
      }
    } else if (rows == kRowsTogether) {
      AttendRows<kRowsTogether>(keys, values, scales, tiles.head_dim, queries, states);
    } else {
      for (; row < rows; ++row) AttendRows<1>(keys, values, scales, tiles.head_dim, &queries[row], &states[row]);
    }
  }
}

template <int kKeyBits>
void AttendWithKeys(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                    TurboRowState* states, uint32_t rows, const TurboExtras* extras) {
  if (reader.value_bits == 2) return AttendTiles<kKeyBits, 2>(reader, tiles, queries, states, rows, extras);
  if (reader.value_bits == 3) return AttendTiles<kKeyBits, 3>(reader, tiles, queries, states, rows, extras);
  AttendTiles<kKeyBits, 4>(reader, tiles, queries, states, rows, extras);
}

}  // namespace

void TurboAttendAvx512(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                       TurboRowState* states, uint32_t rows, const TurboExtras* extras) {
  if (reader.key_bits == 2) return AttendWithKeys<2>(reader, tiles, queries, states, rows, extras);
  if (reader.key_bits == 3) return AttendWithKeys<3>(reader, tiles, queries, states, rows, extras);
  AttendWithKeys<4>(reader, tiles, queries, states, rows, extras);
}

}  // namespace polarkv::cpu
