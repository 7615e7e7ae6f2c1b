#include "tests/bench/rival_attention.h"

#include <immintrin.h>

#include <cmath>
#include <cstring>

namespace polarkv::bench {
namespace {

constexpr uint32_t kTile = 64;
constexpr uint32_t kVectors = kRivalDim / 16;
constexpr uint32_t kTilesAhead = 3;

inline __m512 Half(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

inline __m512 Exp2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, whole);
  __m512 y = _mm512_set1_ps(1.3333558e-3f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.6181291e-3f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.5504109e-2f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.4022651e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.9314718e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(y, whole);
}

// sums[i] -> lane i: a tree of transposing additions.
inline __m512 ReduceSixteen(const __m512 in[16]) {
  __m512 a[8], b[4], c[2];
  for (int i = 0; i < 8; ++i) {
    a[i] = _mm512_add_ps(_mm512_unpacklo_ps(in[2 * i], in[2 * i + 1]), _mm512_unpackhi_ps(in[2 * i], in[2 * i + 1]));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512d x = _mm512_castps_pd(a[2 * i]), y = _mm512_castps_pd(a[2 * i + 1]);
    b[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
  for (int i = 0; i < 2; ++i) {
    c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88), _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xDD));
  }
  return _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xDD));
}

struct Row {
  float max = 0, sum = 0;
};

// Scores of a tile in token order -> probabilities; rescales the row when a larger maximum came.
inline void Softmax(float* scores, Row& row, float* o) {
  __m512 s[4];
  for (int i = 0; i < 4; ++i) s[i] = _mm512_load_ps(scores + 16 * i);
  const float top = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(s[0], s[1]), _mm512_max_ps(s[2], s[3])));
  if (row.sum == 0) {
    row.max = top;
  } else if (top > row.max) {
    const __m512 shrink = _mm512_set1_ps(exp2f(row.max - top));
    row.max = top;
    row.sum *= _mm512_cvtss_f32(shrink);
    for (uint32_t i = 0; i < kVectors; ++i) _mm512_storeu_ps(o + 16 * i, _mm512_mul_ps(_mm512_loadu_ps(o + 16 * i), shrink));
  }
  __m512 sum = _mm512_setzero_ps();
  for (int i = 0; i < 4; ++i) {
    s[i] = Exp2(_mm512_sub_ps(s[i], _mm512_set1_ps(row.max)));
    sum = _mm512_add_ps(sum, s[i]);
    _mm512_store_ps(scores + 16 * i, s[i]);
  }
  row.sum += _mm512_reduce_add_ps(sum);
}

template <int kRows>
void Fp16Scores(const uint16_t* k, const float* q, float (*scores)[kTile]) {
  for (uint32_t t = 0; t < kTile; t += 16) {
    __m512 sums[kRows][16];
    for (uint32_t i = 0; i < 16; ++i) {
      const uint16_t* key = k + (t + i) * kRivalDim;
      __m512 acc[kRows];
      for (int r = 0; r < kRows; ++r) acc[r] = _mm512_setzero_ps();
      for (uint32_t j = 0; j < kVectors; ++j) {
        const __m512 x = Half(key + 16 * j);
        for (int r = 0; r < kRows; ++r) acc[r] = _mm512_fmadd_ps(x, _mm512_loadu_ps(q + r * kRivalDim + 16 * j), acc[r]);
      }
      for (int r = 0; r < kRows; ++r) sums[r][i] = acc[r];
    }
    for (int r = 0; r < kRows; ++r) _mm512_store_ps(scores[r] + t, ReduceSixteen(sums[r]));
  }
}

template <int kRows>
void Fp16Values(const uint16_t* v, const float (*p)[kTile], float* o) {
  constexpr uint32_t kAtOnce = kRows == 1 ? 8 : kRows == 2 ? 4 : 4;
  for (uint32_t j = 0; j < kVectors; j += kAtOnce) {
    __m512 acc[kRows][kAtOnce];
    for (int r = 0; r < kRows; ++r) {
      for (uint32_t i = 0; i < kAtOnce; ++i) acc[r][i] = _mm512_loadu_ps(o + r * kRivalDim + 16 * (j + i));
    }
    for (uint32_t t = 0; t < kTile; ++t) {
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        const __m512 x = Half(v + t * kRivalDim + 16 * (j + i));
        for (int r = 0; r < kRows; ++r) acc[r][i] = _mm512_fmadd_ps(x, _mm512_set1_ps(p[r][t]), acc[r][i]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (uint32_t i = 0; i < kAtOnce; ++i) _mm512_storeu_ps(o + r * kRivalDim + 16 * (j + i), acc[r][i]);
    }
  }
}

__attribute__((target("avx512bf16"))) inline __m512 Dot(__m512 acc, const uint16_t* x, __m512bh y) {
  return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(_mm512_loadu_si512(x)), y);
}

template <int kRows>
__attribute__((target("avx512bf16"))) void Bf16Scores(const uint16_t* k, const uint16_t* q, float (*scores)[kTile]) {
  __m512bh query[kRows][4];
  for (int r = 0; r < kRows; ++r) {
    for (int j = 0; j < 4; ++j) query[r][j] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(q + r * kRivalDim + 32 * j));
  }
  for (uint32_t t = 0; t < kTile; t += 16) {
    __m512 sums[kRows][16];
    for (uint32_t i = 0; i < 16; ++i) {
      __m512 acc[kRows];
      for (int r = 0; r < kRows; ++r) acc[r] = _mm512_setzero_ps();
      for (int j = 0; j < 4; ++j) {
        for (int r = 0; r < kRows; ++r) acc[r] = Dot(acc[r], k + (t + i) * kRivalDim + 32 * j, query[r][j]);
      }
      for (int r = 0; r < kRows; ++r) sums[r][i] = acc[r];
    }
    for (int r = 0; r < kRows; ++r) _mm512_store_ps(scores[r] + t, ReduceSixteen(sums[r]));
  }
}

template <int kRows>
__attribute__((target("avx512bf16"))) void Bf16Values(const uint16_t* v, const float (*p)[kTile], float* o) {
  constexpr uint32_t kAtOnce = kRows == 1 ? 8 : 4;
  uint32_t pairs[kRows][kTile / 2];  // probabilities of two tokens as bf16
  for (int r = 0; r < kRows; ++r) {
    for (uint32_t t = 0; t < kTile; t += 16) {
      const __m256i rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_load_ps(p[r] + t)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(&pairs[r][t / 2]), rounded);
    }
  }
  for (uint32_t j = 0; j < kVectors; j += kAtOnce) {
    __m512 acc[kRows][kAtOnce];
    for (int r = 0; r < kRows; ++r) {
      for (uint32_t i = 0; i < kAtOnce; ++i) acc[r][i] = _mm512_loadu_ps(o + r * kRivalDim + 16 * (j + i));
    }
    for (uint32_t t = 0; t < kTile / 2; ++t) {
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        const uint16_t* x = v + t * 2 * kRivalDim + 32 * (j + i);
        for (int r = 0; r < kRows; ++r) {
          acc[r][i] = Dot(acc[r][i], x, reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(pairs[r][t]))));
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (uint32_t i = 0; i < kAtOnce; ++i) _mm512_storeu_ps(o + r * kRivalDim + 16 * (j + i), acc[r][i]);
    }
  }
}

// A tile of K and V to come, before this one is worked on. To the second cache, which is faster by half than to the first.
inline void Prefetch(const uint16_t* k, const uint16_t* v, uint32_t tokens_ahead) {
  const char* a = reinterpret_cast<const char*>(k + uint64_t{tokens_ahead} * kRivalDim);
  const char* b = reinterpret_cast<const char*>(v + uint64_t{tokens_ahead} * kRivalDim);
  constexpr uint32_t kBytes = kTile * kRivalDim * 2;
  for (uint32_t i = 0; i < kBytes / 4; i += 64) {
    for (uint32_t stream = 0; stream < 4; ++stream) {
      _mm_prefetch(a + stream * kBytes / 4 + i, _MM_HINT_T1);
      _mm_prefetch(b + stream * kBytes / 4 + i, _MM_HINT_T1);
    }
  }
}

template <int kRows>
void RunFp16(const uint16_t* k, const uint16_t* v, const float* q, float* o, Row* rows) {
  alignas(64) float scores[kRows][kTile];
  Fp16Scores<kRows>(k, q, scores);
  for (int r = 0; r < kRows; ++r) Softmax(scores[r], rows[r], o + r * kRivalDim);
  Fp16Values<kRows>(v, scores, o);
}

template <int kRows>
void RunBf16(const uint16_t* k, const uint16_t* v, const uint16_t* q, float* o, Row* rows) {
  alignas(64) float scores[kRows][kTile];
  Bf16Scores<kRows>(k, q, scores);
  for (int r = 0; r < kRows; ++r) Softmax(scores[r], rows[r], o + r * kRivalDim);
  Bf16Values<kRows>(v, scores, o);
}

template <typename Query, typename RunFour, typename RunOne>
void Walk(const uint16_t* k, const uint16_t* v, uint32_t tokens, const Query* q, uint32_t rows, float* o, float* lse,
          RunFour four, RunOne one) {
  Row state[64];
  std::memset(o, 0, sizeof(float) * rows * kRivalDim);
  for (uint32_t t = 0; t < tokens; t += kTile, k += kTile * kRivalDim, v += kTile * kRivalDim) {
    Prefetch(k, v, kTilesAhead * kTile);
    uint32_t r = 0;
    for (; r + 4 <= rows; r += 4) four(k, v, q + r * kRivalDim, o + r * kRivalDim, state + r);
    for (; r < rows; ++r) one(k, v, q + r * kRivalDim, o + r * kRivalDim, state + r);
  }
  for (uint32_t r = 0; r < rows; ++r) {
    for (uint32_t j = 0; j < kRivalDim; ++j) o[r * kRivalDim + j] /= state[r].sum;
    lse[r] = state[r].max + log2f(state[r].sum);
  }
}

}  // namespace

void AttendFp16(const uint16_t* k, const uint16_t* v, uint32_t tokens, const float* q, uint32_t rows, float* o, float* lse) {
  Walk(k, v, tokens, q, rows, o, lse, RunFp16<4>, RunFp16<1>);
}

void AttendBf16(const uint16_t* k, const uint16_t* v, uint32_t tokens, const uint16_t* q, uint32_t rows, float* o, float* lse) {
  Walk(k, v, tokens, q, rows, o, lse, RunBf16<4>, RunBf16<1>);
}

bool HasBf16() { return __builtin_cpu_supports("avx512bf16"); }

}  // namespace polarkv::bench
