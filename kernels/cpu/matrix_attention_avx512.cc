// Compiled for AVX-512; called only where the machine has it (see turbo_attention.h on ODR).
#include "kernels/cpu/matrix_attention.h"

#include <immintrin.h>

#include "kernels/cpu/tile_softmax_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kMatrixRows = 4;

// sums[r][lane] += sum over columns of matrix[column][lane] * x[r][column], kVectors registers of lanes at `first_lane`.
template <int kRows, int kVectors>
[[gnu::always_inline]] inline void AddColumns(const float* matrix, uint32_t columns, uint32_t lanes, uint32_t first_lane,
                                              const float* const* x, __m512 (&sums)[kRows][kVectors]) {
  for (uint32_t c = 0; c < columns; ++c) {
    const float* column = matrix + c * lanes + first_lane;
    for (int v = 0; v < kVectors; ++v) {
      const __m512 m = _mm512_load_ps(column + 16 * v);
      for (int r = 0; r < kRows; ++r) sums[r][v] = _mm512_fmadd_ps(m, _mm512_set1_ps(x[r][c]), sums[r][v]);
    }
  }
}

// Lane i of the result: sum over columns of matrix[i][column] * x[column], for 16 rows of a matrix.
[[gnu::always_inline]] inline __m512 DotSixteen(const float* matrix, uint32_t columns, const float* x) {
  __m512 sums[16];
  for (uint32_t i = 0; i < 16; ++i) {
    sums[i] = _mm512_setzero_ps();
    for (uint32_t c = 0; c < columns; c += 16) {
      sums[i] = _mm512_fmadd_ps(_mm512_load_ps(matrix + i * columns + c), _mm512_loadu_ps(x + c), sums[i]);
    }
  }
  return SumEach(sums);
}

template <int kRows>
void MatrixScores(const MatrixTile& tile, const MatrixQuery* queries, float (*scores)[kTileTokens]) {
  const uint32_t d = tile.head_dim;
  if (tile.keys.by_token) {
    for (uint32_t t = 0; t < kTileTokens; t += 16) {
      for (int r = 0; r < kRows; ++r) _mm512_store_ps(scores[r] + t, DotSixteen(tile.keys.value + t * d, d, queries[r].x));
    }
    return;
  }
  const float* x[kRows];
  __m512 sums[kRows][4];
  for (int r = 0; r < kRows; ++r) {
    x[r] = queries[r].x;
    for (__m512& sum : sums[r]) sum = _mm512_setzero_ps();
  }
  AddColumns<kRows, 4>(tile.keys.value, d, kTileTokens, 0, x, sums);
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < 4; ++v) _mm512_store_ps(scores[r] + 16 * v, sums[r][v]);
  }
}

template <int kRows>
void AddMatrixValues(const MatrixTile& tile, const float (*weights)[kTileTokens], TurboRowState* states,
                     uint32_t first_output) {
  const uint32_t d = tile.head_dim;
  if (!tile.values.by_token) {
    for (uint32_t j = 0; j < d; j += 16) {
      for (int r = 0; r < kRows; ++r) {
        float* out = states[r].output + first_output + j;
        const __m512 sum = DotSixteen(tile.values.value + j * kTileTokens, kTileTokens, weights[r]);
        _mm512_storeu_ps(out, _mm512_add_ps(_mm512_loadu_ps(out), sum));
      }
    }
    return;
  }
  const float* x[kRows];
  for (int r = 0; r < kRows; ++r) x[r] = weights[r];
  for (uint32_t j = 0; j < d; j += 16) {
    __m512 sums[kRows][1];
    for (int r = 0; r < kRows; ++r) sums[r][0] = _mm512_loadu_ps(states[r].output + first_output + j);
    AddColumns<kRows, 1>(tile.values.value, kTileTokens, d, j, x, sums);
    for (int r = 0; r < kRows; ++r) _mm512_storeu_ps(states[r].output + first_output + j, sums[r][0]);
  }
}

// Sixty-four numbers by token -> in score order.
[[gnu::always_inline]] inline void ToScoreOrder(const float* by_token, __m512 out[4]) {
  __m512i natural[4];
  RowScores ordered;
  for (int i = 0; i < 4; ++i) {
    natural[i] = _mm512_castps_si512(_mm512_loadu_ps(by_token + 16 * i));
    ordered[i] = _mm512_setzero_si512();
  }
  AddInScoreOrder(natural, ordered);  // to integer zeros: moves bits
  for (int i = 0; i < 4; ++i) out[i] = _mm512_castsi512_ps(ordered[i]);
}

// Lanes that are larger in magnitude than `limit`, or no number.
[[gnu::always_inline]] inline __mmask16 Beyond(__m512 x, float limit) {
  return _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(limit), _CMP_NLE_UQ);
}

// Scores -> probabilities in extras, in score order, and weights for the values by token. A state whose logits fp32 cannot
// hold gets a NaN for its sum.
void MatrixSoftmax(const MatrixTile& tile, const float* scores, float unit, TurboRowState& state, const float* added,
                   float* probability, float* weights) {
  __m512 logits[4], factors[4];
  ToScoreOrder(scores, logits);
  ToScoreOrder(tile.key_factor, factors);
  __mmask16 past[4], beyond = 0;
  __m512 best = _mm512_set1_ps(-__builtin_inff());
  for (int i = 0; i < 4; ++i) {
    const __m512 units = _mm512_set1_ps(unit), product = _mm512_mul_ps(logits[i], factors[i]);
    logits[i] = _mm512_fmadd_ps(product, units, _mm512_loadu_ps(added + 16 * i));
    past[i] = _mm512_cmpge_epu32_mask(ScoreOrderTokens(i), _mm512_set1_epi32(static_cast<int>(tile.tokens)));
    const int out_of_range = Beyond(product, FLT_MAX) | Beyond(_mm512_mul_ps(factors[i], units), kLargestFactor);
    beyond = static_cast<__mmask16>(beyond | (out_of_range & ~past[i]));
    logits[i] = _mm512_mask_mov_ps(logits[i], past[i], _mm512_set1_ps(-__builtin_inff()));
    best = _mm512_max_ps(best, logits[i]);
  }
  const float top = _mm512_reduce_max_ps(best);
  float nothing_pending = 0;
  if (state.sum == 0 || top > state.max) RaiseMax(top, tile.head_dim, state, nothing_pending);
  if (beyond != 0) state.sum = __builtin_nanf("");
  __m512 sum = _mm512_setzero_ps();
  for (int i = 0; i < 4; ++i) {
    const __m512 p = Exp2(_mm512_sub_ps(logits[i], _mm512_set1_ps(state.max)));
    const __m512 kept = _mm512_mask_mov_ps(p, past[i], _mm512_setzero_ps());
    _mm512_storeu_ps(probability + 16 * i, kept);
    sum = _mm512_add_ps(sum, kept);
  }
  state.sum += _mm512_reduce_add_ps(sum);
  for (uint32_t t = 0; t < tile.tokens; ++t) weights[t] = probability[kScoreOrder.place[t]] * tile.value_factor[t];
  for (uint32_t t = tile.tokens; t < kTileTokens; ++t) weights[t] = 0;
}

template <int kRows>
void AttendMatrixRows(const MatrixTile& tile, const MatrixQuery* queries, TurboRowState* states, uint32_t first_output,
                      const TurboExtras& extras) {
  alignas(64) float scores[kRows][kTileTokens], weights[kRows][kTileTokens];
  MatrixScores<kRows>(tile, queries, scores);
  for (int r = 0; r < kRows; ++r) {
    MatrixSoftmax(tile, scores[r], queries[r].unit, states[r], extras.added + kTileTokens * r,
                  extras.probability + kTileTokens * r, weights[r]);
  }
  AddMatrixValues<kRows>(tile, weights, states, first_output);
}

}  // namespace

void AttendMatrixAvx512(const MatrixTile& tile, const MatrixQuery* queries, TurboRowState* states, uint32_t rows,
                        uint32_t first_output, const TurboExtras& extras) {
  uint32_t row = 0;
  for (; row + kMatrixRows <= rows; row += kMatrixRows) {
    AttendMatrixRows<kMatrixRows>(tile, queries + row, states + row, first_output, extras.From(0, row));
  }
  for (; row < rows; ++row) AttendMatrixRows<1>(tile, queries + row, states + row, first_output, extras.From(0, row));
}

}  // namespace polarkv::cpu
