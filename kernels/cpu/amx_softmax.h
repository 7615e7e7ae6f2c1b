// From integer scores to 8-bit weights and running sums, for the rows of one AMX pass; and from sums of weighted values to
// outputs. For sources compiled with AVX-512 and VBMI.
#ifndef POLARKV_KERNELS_CPU_AMX_SOFTMAX_H_
#define POLARKV_KERNELS_CPU_AMX_SOFTMAX_H_

#include "kernels/cpu/amx_operands.h"
#include "kernels/cpu/turbo_softmax_avx512.h"

namespace polarkv::cpu {
namespace {

// The rows' softmax. A tile's sums reach the outputs a step after its weights were made: `factor` has what a weight of one
// stands for, of this tile and of the one before.
struct PassRows {
  alignas(64) float max[kMaxPassRows] = {};
  alignas(64) float sum[kMaxPassRows] = {};
  alignas(64) float factor[2][kMaxPassRows] = {};
  alignas(64) float scale[kMaxPassRows] = {};
  // Of the tile at work: the largest logit, and the sum of probabilities relative to it.
  alignas(64) float top[kMaxPassRows] = {};
  alignas(64) float tile_sum[kMaxPassRows] = {};
  float* output[kMaxPassRows] = {};
};

// Raises a row's reference; everything summed so far shrinks, the sums that have not reached the output too.
inline void RaiseMax(uint32_t row, uint32_t head_dim, float* waiting, PassRows& rows) {
  const float top = rows.top[row];
  if (rows.sum[row] != 0) {
    const float shrink = exp2f(rows.max[row] - top);
    rows.sum[row] *= shrink;
    waiting[row] *= shrink;
    for (uint32_t i = 0; i < 2 * head_dim; ++i) rows.output[row][i] *= shrink;
  }
  rows.max[row] = top;
}

// Rows `first` to `first + kRows - 1` of one tile. A weight is a token's probability, relative to the tile's largest, times
// its value's scale, relative to the tile's largest.
template <int kRows, bool kExtras>
[[gnu::always_inline]] inline void WeighRows(uint32_t first, const TileScales& scales, uint32_t head_dim, float* waiting,
                                             const TurboExtras* extras, PassRows& rows, AmxOperands& operands) {
  __m512 logits[kRows][4], best[kRows], sums[kRows];
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < 4; ++i) {
      const __m512 score = _mm512_cvtepi32_ps(_mm512_load_si512(operands.scores[i][first + r]));
      logits[r][i] = _mm512_mul_ps(score, scales.key[i]);
      if constexpr (kExtras) {
        logits[r][i] = _mm512_fmadd_ps(logits[r][i], _mm512_set1_ps(rows.scale[first + r]),
                                       _mm512_loadu_ps(extras->added + 64 * (first + r) + 16 * i));
      }
      if (scales.valid < kTileTokens) {
        logits[r][i] = _mm512_mask_mov_ps(logits[r][i], scales.past[i], _mm512_set1_ps(-__builtin_inff()));
      }
    }
    best[r] = _mm512_max_ps(_mm512_max_ps(logits[r][0], logits[r][1]), _mm512_max_ps(logits[r][2], logits[r][3]));
  }
  float* top = rows.top + first;
  ReduceRows<kRows>(best, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); },
                    [](__m512 x) { return _mm512_reduce_max_ps(x); }, top);
  for (int r = 0; r < kRows; ++r) {
    const uint32_t row = first + static_cast<uint32_t>(r);
    if constexpr (!kExtras) top[r] *= rows.scale[row];
    if (rows.sum[row] == 0 || top[r] > rows.max[row]) RaiseMax(row, head_dim, waiting, rows);
  }
  for (int r = 0; r < kRows; ++r) {
    const __m512 unit = _mm512_set1_ps(kExtras ? 1.0f : rows.scale[first + r]), minus_top = _mm512_set1_ps(-top[r]);
    __m512i whole[4];
    sums[r] = _mm512_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      __m512 p = Exp2(_mm512_fmadd_ps(logits[r][i], unit, minus_top));
      if (scales.valid < kTileTokens) p = _mm512_mask_mov_ps(p, scales.past[i], _mm512_setzero_ps());
      if constexpr (kExtras) _mm512_storeu_ps(extras->probability + 64 * (first + r) + 16 * i, p);
      sums[r] = _mm512_add_ps(sums[r], p);
      whole[i] = _mm512_cvtps_epi32(_mm512_mul_ps(p, scales.value[i]));
    }
    const __m512i bytes =
        _mm512_packus_epi16(_mm512_packs_epi32(whole[0], whole[1]), _mm512_packs_epi32(whole[2], whole[3]));
    _mm512_store_si512(operands.weights[first + r],
                       _mm512_permutexvar_epi8(_mm512_load_si512(kScoreOrder.packed_weight_source), bytes));
  }
  ReduceRows<kRows>(sums, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); },
                    [](__m512 x) { return _mm512_reduce_add_ps(x); }, rows.tile_sum + first);
}

// After all rows of tile `number` were weighed.
[[gnu::always_inline]] inline void AddTileSums(uint32_t number, const TileScales& scales, uint32_t count,
                                               const TurboExtras* extras, PassRows& rows) {
  const __m512 share = Exp2(_mm512_sub_ps(_mm512_load_ps(rows.top), _mm512_load_ps(rows.max)));
  const __m512 added = _mm512_mul_ps(share, _mm512_load_ps(rows.tile_sum));
  _mm512_store_ps(rows.sum, _mm512_add_ps(_mm512_load_ps(rows.sum), added));
  _mm512_store_ps(rows.factor[number % 2], _mm512_mul_ps(share, _mm512_set1_ps(scales.value_unit)));
  if (extras == nullptr) return;
  alignas(64) float shares[kMaxPassRows];
  _mm512_store_ps(shares, share);
  for (uint32_t row = 0; row < count; ++row) {
    for (uint32_t t = 0; t < kTileTokens; ++t) extras->probability[kTileTokens * row + t] *= shares[row];
  }
}

// The sums of a tile whose factors are given, into the rows' outputs.
[[gnu::always_inline]] inline void Flush(const AmxOperands& operands, const float* factor, uint32_t groups, uint32_t count,
                                         PassRows& rows) {
  for (uint32_t row = 0; row < count; ++row) {
    const __m512 unit = _mm512_set1_ps(factor[row]);
    float* output = rows.output[row];
    for (uint32_t i = 0; i < 4 * groups; ++i) {
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(operands.sums[i][row]));
      _mm512_storeu_ps(output + 16 * i, _mm512_fmadd_ps(sum, unit, _mm512_loadu_ps(output + 16 * i)));
    }
  }
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_SOFTMAX_H_
