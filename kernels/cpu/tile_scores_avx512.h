// Integer products of a tile's keys with rounded queries, and of weights with its values. For sources compiled with AVX-512, VBMI
// and VNNI.
#ifndef POLARKV_KERNELS_CPU_TILE_SCORES_AVX512_H_
#define POLARKV_KERNELS_CPU_TILE_SCORES_AVX512_H_

#include "kernels/cpu/code_lines_avx512.h"
#include "kernels/cpu/turbo_attention.h"

namespace polarkv::cpu {
namespace {

inline constexpr uint32_t kRowsTogether = 8;  // more would not fit the registers

// Scores of a row in the order of kScoreOrder: vector 2*e3 + T1 holds, in lane (T0, e1, e2, e0), token 16*(2*T1+T0) + e,
// e = (e3 e2 e1 e0).
using RowScores = __m512i[4];

// Queries of rows, side by side: one address and constant distances.
struct QueryBlock {
  alignas(64) int32_t words[kRowsTogether][4 * 16];  // of the largest head_dim
  int32_t sum[kRowsTogether];
  float scale[kRowsTogether];
};

// Weights of rows for a tile's values, in the values' order, and what a weight of one stands for.
struct TileWeights {
  alignas(64) int32_t words[kRowsTogether][16];
  float factor[kRowsTogether];
};

// Sums of a row that do not wait for each other: the multiplier's latency is four products.
template <int kRows>
inline constexpr int kChains = kRows == 1 ? 2 : 1;

[[gnu::always_inline]] inline __m512i Broadcast(int32_t word) { return _mm512_set1_epi32(word); }

// Vectors e and e + 2 of the scores from the full groups.
template <int kRows, typename Lines>
[[gnu::always_inline]] inline void ScoreHalf(const Lines& lines, uint32_t groups, uint32_t e, const QueryBlock& queries,
                                             RowScores* scores) {
  __m512i sums[kRows][2][kChains<kRows>];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < 2; ++v) {
      sums[r][v][0] = Broadcast(-128 * queries.sum[r]);
      if constexpr (kChains<kRows> == 2) sums[r][v][1] = _mm512_setzero_si512();
    }
  }
  for (uint32_t group = 0; group < groups; ++group) {
    for (uint32_t quarter = 0; quarter < 4; ++quarter) {
      const uint32_t chunk = 4 * (quarter * groups + group);
      ForEachPair(lines, FullLine(group, 4 * e + quarter), [&](uint32_t i, __m512i a, __m512i b) __attribute__((always_inline)) {
        for (int r = 0; r < kRows; ++r) {
          const __m512i word = Broadcast(queries.words[r][chunk + i]);
          sums[r][0][i % kChains<kRows>] = _mm512_dpbusd_epi32(sums[r][0][i % kChains<kRows>], a, word);
          sums[r][1][i % kChains<kRows>] = _mm512_dpbusd_epi32(sums[r][1][i % kChains<kRows>], b, word);
        }
      });
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (uint32_t v = 0; v < 2; ++v) {
      scores[r][2 * v + e] = sums[r][v][0];
      if constexpr (kChains<kRows> == 2) scores[r][2 * v + e] = _mm512_add_epi32(sums[r][v][0], sums[r][v][1]);
    }
  }
}

// Sixteen tokens in each of natural[0..3] -> score order.
[[gnu::always_inline]] inline void AddInScoreOrder(const __m512i natural[4], RowScores& scores) {
  const __m512i first = _mm512_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7, 16, 17, 20, 21, 18, 19, 22, 23);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  for (int t = 0; t < 2; ++t) {
    scores[t] = _mm512_add_epi32(scores[t], _mm512_permutex2var_epi32(natural[2 * t], first, natural[2 * t + 1]));
    scores[2 + t] = _mm512_add_epi32(scores[2 + t], _mm512_permutex2var_epi32(natural[2 * t], second, natural[2 * t + 1]));
  }
}

// The last group's 16 or 32 coordinates, one row.
template <typename Lines>
[[gnu::always_inline]] inline void ScoreTail(const Lines& lines, uint32_t groups, uint32_t width, const int32_t* query,
                                             RowScores& scores) {
  // A line holds A's tokens and B's, 16 of a chunk or 8 of two chunks that alternate.
  const int32_t* chunk = query + 16 * groups;
  const int32_t* next = chunk + 4 * (width - 1);
  __m512i operand[4], sums[2][4], natural[4];
  for (int i = 0; i < 4; ++i) operand[i] = _mm512_mask_set1_epi32(Broadcast(chunk[i]), 0xAAAA, next[i]);
  for (uint32_t line = 0; line < 2 * width; ++line) {
    sums[0][line] = sums[1][line] = _mm512_setzero_si512();
    ForEachPair(lines, TailLine(groups, width, line), [&](uint32_t i, __m512i a, __m512i b) __attribute__((always_inline)) {
      sums[0][line] = _mm512_dpbusd_epi32(sums[0][line], a, operand[i]);
      sums[1][line] = _mm512_dpbusd_epi32(sums[1][line], b, operand[i]);
    });
  }
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  for (uint32_t i = 0; i < 4; ++i) {
    const __m512i* of = sums[i / 2] + (i % 2) * width;
    natural[i] = width == 1 ? of[0]
                            : _mm512_add_epi32(_mm512_permutex2var_epi32(of[0], even, of[1]),
                                               _mm512_permutex2var_epi32(of[0], odd, of[1]));
  }
  AddInScoreOrder(natural, scores);
}

template <int kRows, typename Lines>
void ScoreTile(const TileSide& side, const QueryBlock& queries, RowScores* scores) {
  const Lines lines(side);
  const uint32_t groups = side.head_dim / 64, width = TailWidth(side.head_dim);
  ScoreHalf<kRows>(lines, groups, 0, queries, scores);
  ScoreHalf<kRows>(lines, groups, 1, queries, scores);
  for (int r = 0; width != 0 && r < kRows; ++r) ScoreTail(lines, groups, width, queries.words[r], scores[r]);
}

[[gnu::always_inline]] inline void AddToOutput(__m512i sum, float factor, float* output) {
  _mm512_storeu_ps(output, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(factor), _mm512_loadu_ps(output)));
}

// The outputs of coordinates 16 e to 16 e + 15 of each half of a full group; lane order is dim order.
template <int kRows, typename Lines>
[[gnu::always_inline]] inline void AddValueHalf(const Lines& lines, uint32_t group, uint32_t e, const TileWeights& weights,
                                                TurboRowState* states) {
  __m512i sums[kRows][2][kChains<kRows>];
  for (auto& row : sums) {
    for (auto& half : row) {
      for (__m512i& sum : half) sum = _mm512_setzero_si512();
    }
  }
  for (uint32_t quarter = 0; quarter < 4; ++quarter) {
    ForEachPair(lines, FullLine(group, 4 * e + quarter), [&](uint32_t i, __m512i a, __m512i b) __attribute__((always_inline)) {
      for (int r = 0; r < kRows; ++r) {
        const __m512i word = Broadcast(weights.words[r][4 * quarter + i]);
        sums[r][0][i % kChains<kRows>] = _mm512_dpbusd_epi32(sums[r][0][i % kChains<kRows>], word, a);
        sums[r][1][i % kChains<kRows>] = _mm512_dpbusd_epi32(sums[r][1][i % kChains<kRows>], word, b);
      }
    });
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < 2; ++v) {
      __m512i sum = sums[r][v][0];
      if constexpr (kChains<kRows> == 2) sum = _mm512_add_epi32(sum, sums[r][v][1]);
      AddToOutput(sum, weights.factor[r], states[r].output + 64 * group + 32 * v + 16 * e);
    }
  }
}

// The last group's 16 coordinates: a line holds two quarters of 8 coordinates, of A and of B.
template <typename Lines>
[[gnu::always_inline]] inline void AddNarrowTail(const Lines& lines, uint32_t groups, const int32_t* weights, float factor,
                                                 float* output) {
  __m512i sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (uint32_t line = 0; line < 2; ++line) {
    const int32_t* of = weights + 8 * line;
    ForEachPair(lines, TailLine(groups, 1, line), [&](uint32_t i, __m512i a, __m512i b) __attribute__((always_inline)) {
      const __m512i word = _mm512_mask_set1_epi32(Broadcast(of[i]), 0xFF00, of[4 + i]);
      sums[0] = _mm512_dpbusd_epi32(sums[0], word, a);
      sums[1] = _mm512_dpbusd_epi32(sums[1], word, b);
    });
  }
  const __m512i low = _mm512_shuffle_i64x2(sums[0], sums[1], 0x44), high = _mm512_shuffle_i64x2(sums[0], sums[1], 0xEE);
  AddToOutput(_mm512_add_epi32(low, high), factor, output + 64 * groups);
}

// The last group's 32 coordinates: a line holds a quarter of 16 coordinates, of A and of B.
template <typename Lines>
[[gnu::always_inline]] inline void AddWideTail(const Lines& lines, uint32_t groups, const int32_t* weights, float factor,
                                               float* output) {
  __m512i sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (uint32_t line = 0; line < 4; ++line) {
    ForEachPair(lines, TailLine(groups, 2, line), [&](uint32_t i, __m512i a, __m512i b) __attribute__((always_inline)) {
      const __m512i word = Broadcast(weights[4 * line + i]);
      sums[0] = _mm512_dpbusd_epi32(sums[0], word, a);
      sums[1] = _mm512_dpbusd_epi32(sums[1], word, b);
    });
  }
  for (uint32_t v = 0; v < 2; ++v) AddToOutput(sums[v], factor, output + 64 * groups + 16 * v);
}

// Adds the tile's values, weighted, to each row's output.
template <int kRows, typename Lines>
void AddValueTile(const TileSide& side, const TileWeights& weights, TurboRowState* states) {
  const Lines lines(side);
  const uint32_t groups = side.head_dim / 64, width = TailWidth(side.head_dim);
  for (uint32_t i = 0; i < 2 * groups; ++i) AddValueHalf<kRows>(lines, i / 2, i % 2, weights, states);
  for (int r = 0; r < kRows && width != 0; ++r) {
    if (width == 1) AddNarrowTail(lines, groups, weights.words[r], weights.factor[r], states[r].output);
    if (width == 2) AddWideTail(lines, groups, weights.words[r], weights.factor[r], states[r].output);
  }
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TILE_SCORES_AVX512_H_
