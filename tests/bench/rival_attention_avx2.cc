#include "tests/bench/rival_attention_avx2.h"

#include <immintrin.h>

#include <cmath>
#include <cstring>

namespace polarkv::bench {
namespace {

constexpr uint32_t kDim = 128;
constexpr uint32_t kTile = 64;
constexpr uint32_t kTilesAhead = 4;
constexpr uint32_t kSums = 8;  // registers that are summed to, of sixteen

struct Fp16 {
  static __m256 Load(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
};
struct Bf16 {
  static __m256 Load(const uint16_t* p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
};

__m256 Exp2(__m256 x) {
  const __m256 to_integer = _mm256_set1_ps(0x1.8p23f);
  x = _mm256_max_ps(x, _mm256_set1_ps(-126.0f));
  const __m256 shifted = _mm256_add_ps(x, to_integer);
  const __m256 f = _mm256_sub_ps(x, _mm256_sub_ps(shifted, to_integer));
  __m256 y = _mm256_set1_ps(9.57010201e-3f);
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(5.59178603e-2f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(2.40247448e-1f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(6.93121815e-1f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(9.99999261e-1f));
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23)));
}

// Lane i: the sum over in[i].
__m256 SumEach(const __m256 in[8]) {
  const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(in[0], in[1]), _mm256_hadd_ps(in[2], in[3]));
  const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(in[4], in[5]), _mm256_hadd_ps(in[6], in[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

float Largest(__m256 x) {
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, x);
  float largest = lanes[0];
  for (const float lane : lanes) largest = lane > largest ? lane : largest;
  return largest;
}
float Sum(__m256 x) {
  const __m256 in[8] = {x, x, x, x, x, x, x, x};
  return _mm256_cvtss_f32(SumEach(in));
}

struct Row {
  float max = 0, sum = 0;
};

// Scores of a tile in token order -> probabilities; rescales the row when a larger maximum came.
void Softmax(float* scores, Row& row, float* o) {
  __m256 best = _mm256_load_ps(scores);
  for (uint32_t i = 8; i < kTile; i += 8) best = _mm256_max_ps(best, _mm256_load_ps(scores + i));
  const float top = Largest(best);
  if (row.sum == 0) {
    row.max = top;
  } else if (top > row.max) {
    const float shrink = exp2f(row.max - top);
    row.max = top;
    row.sum *= shrink;
    for (uint32_t i = 0; i < kDim; i += 8) {
      _mm256_storeu_ps(o + i, _mm256_mul_ps(_mm256_loadu_ps(o + i), _mm256_set1_ps(shrink)));
    }
  }
  __m256 sum = _mm256_setzero_ps();
  for (uint32_t i = 0; i < kTile; i += 8) {
    const __m256 p = Exp2(_mm256_sub_ps(_mm256_load_ps(scores + i), _mm256_set1_ps(row.max)));
    sum = _mm256_add_ps(sum, p);
    _mm256_store_ps(scores + i, p);
  }
  row.sum += Sum(sum);
}

template <typename Type, uint32_t kRows>
void Scores(const uint16_t* k, const float* q, float (*scores)[kTile]) {
  constexpr uint32_t kTokens = kSums / kRows;
  for (uint32_t t = 0; t < kTile; t += kTokens) {
    __m256 sums[kSums];
    for (__m256& sum : sums) sum = _mm256_setzero_ps();
    for (uint32_t j = 0; j < kDim; j += 8) {
      for (uint32_t i = 0; i < kTokens; ++i) {
        const __m256 x = Type::Load(k + (t + i) * kDim + j);
        for (uint32_t r = 0; r < kRows; ++r) {
          sums[r * kTokens + i] = _mm256_fmadd_ps(x, _mm256_loadu_ps(q + r * kDim + j), sums[r * kTokens + i]);
        }
      }
    }
    alignas(32) float all[kSums];
    _mm256_store_ps(all, SumEach(sums));
    for (uint32_t r = 0; r < kRows; ++r) std::memcpy(scores[r] + t, all + r * kTokens, sizeof(float) * kTokens);
  }
}

template <typename Type, uint32_t kRows>
void Values(const uint16_t* v, const float (*p)[kTile], float* o) {
  constexpr uint32_t kAtOnce = kSums / kRows;
  for (uint32_t j = 0; j < kDim; j += 8 * kAtOnce) {
    __m256 sums[kRows][kAtOnce];
    for (uint32_t r = 0; r < kRows; ++r) {
      for (uint32_t i = 0; i < kAtOnce; ++i) sums[r][i] = _mm256_loadu_ps(o + r * kDim + j + 8 * i);
    }
    for (uint32_t t = 0; t < kTile; ++t) {
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        const __m256 x = Type::Load(v + t * kDim + j + 8 * i);
        for (uint32_t r = 0; r < kRows; ++r) sums[r][i] = _mm256_fmadd_ps(x, _mm256_set1_ps(p[r][t]), sums[r][i]);
      }
    }
    for (uint32_t r = 0; r < kRows; ++r) {
      for (uint32_t i = 0; i < kAtOnce; ++i) _mm256_storeu_ps(o + r * kDim + j + 8 * i, sums[r][i]);
    }
  }
}

void Prefetch(const uint16_t* tile) {
  constexpr uint32_t kBytes = kTile * kDim * 2;
  const char* bytes = reinterpret_cast<const char*>(tile) + kTilesAhead * kBytes;
  for (uint32_t i = 0; i < kBytes / 4; i += 64) {
    for (uint32_t stream = 0; stream < 4; ++stream) _mm_prefetch(bytes + stream * kBytes / 4 + i, _MM_HINT_T1);
  }
}

template <typename Type, uint32_t kRows>
void AttendRows(const uint16_t* k, const uint16_t* v, const float* q, float* o, Row* rows) {
  alignas(32) float scores[kRows][kTile];
  Scores<Type, kRows>(k, q, scores);
  for (uint32_t r = 0; r < kRows; ++r) Softmax(scores[r], rows[r], o + r * kDim);
  Values<Type, kRows>(v, scores, o);
}

template <typename Type>
void Walk(const uint16_t* k, const uint16_t* v, uint32_t tokens, const float* q, uint32_t rows, float* o, float* lse) {
  Row state[64];
  std::memset(o, 0, sizeof(float) * rows * kDim);
  for (uint32_t t = 0; t < tokens; t += kTile, k += kTile * kDim, v += kTile * kDim) {
    Prefetch(k);
    Prefetch(v);
    uint32_t r = 0;
    for (; r + 4 <= rows; r += 4) AttendRows<Type, 4>(k, v, q + r * kDim, o + r * kDim, state + r);
    for (; r < rows; ++r) AttendRows<Type, 1>(k, v, q + r * kDim, o + r * kDim, state + r);
  }
  for (uint32_t r = 0; r < rows; ++r) {
    for (uint32_t j = 0; j < kDim; ++j) o[r * kDim + j] /= state[r].sum;
    lse[r] = state[r].max + log2f(state[r].sum);
  }
}

}  // namespace

void AttendFp16Avx2(const uint16_t* k, const uint16_t* v, uint32_t tokens, const float* q, uint32_t rows, float* o, float* lse) {
  Walk<Fp16>(k, v, tokens, q, rows, o, lse);
}
void AttendBf16Avx2(const uint16_t* k, const uint16_t* v, uint32_t tokens, const float* q, uint32_t rows, float* o, float* lse) {
  Walk<Bf16>(k, v, tokens, q, rows, o, lse);
}

}  // namespace polarkv::bench
