// Compiled for AVX-512; called only where the machine has it (see turbo_attention.h on ODR).
#include "kernels/cpu/key_mean_rows.h"

#include <immintrin.h>

#include "codec/block_format.h"
#include "kernels/cpu/avx512_rows.h"
#include "kernels/cpu/sine_cosine_avx512.h"

namespace polarkv::cpu {
namespace {

// Thirty-two coordinates as floats, the even ones and the odd ones.
template <Dtype kDtype>
[[gnu::always_inline]] inline void LoadEvenOdd(const uint8_t* row, int block, __m512* out) {
  if constexpr (kDtype == Dtype::kF32) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512 low = _mm512_loadu_ps(row + 128 * block), high = _mm512_loadu_ps(row + 128 * block + 64);
    out[0] = _mm512_permutex2var_ps(low, even, high);
    out[1] = _mm512_permutex2var_ps(low, odd, high);
    return;
  }
  const __m512i raw = _mm512_loadu_si512(row + 64 * block);
  if constexpr (kDtype == Dtype::kBF16) {
    out[0] = _mm512_castsi512_ps(_mm512_slli_epi32(raw, 16));
    out[1] = _mm512_castsi512_ps(_mm512_and_si512(raw, _mm512_set1_epi32(static_cast<int>(0xFFFF0000))));
  } else {
    out[0] = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(raw));
    out[1] = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(raw, 16)));
  }
}

// Registers of the two coordinates of pair register i.
template <int kDim>
struct PairRegisters {
  explicit PairRegisters(const KeyPairs& pairs) {
    const int apart = static_cast<int>(pairs.distance) / 16;
    for (int i = 0; i < kDim / 32; ++i) {
      first[i] = i < apart ? i : 2 * i;
      second[i] = i < apart ? i + apart : 2 * i + 1;
    }
  }
  int first[kDim / 32], second[kDim / 32];
};

template <Dtype kDtype, int kDim>
void SumKeys(const TurboEncodeRows& rows, uint32_t stride, const KeyPairs& pairs, const PairNumbers& step, PairNumbers& sum,
             float* energy) {
  constexpr int kPairs = kDim / 32;
  const PairRegisters<kDim> registers(pairs);
  __m512 a[kPairs], b[kPairs], cosine[kPairs], sine[kPairs];
  for (int i = 0; i < kPairs; ++i) {
    a[i] = b[i] = _mm512_setzero_ps();
    cosine[i] = _mm512_load_ps(step.first + 16 * i);
    sine[i] = _mm512_load_ps(step.second + 16 * i);
  }
  __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
  for (uint32_t t = (rows.tokens - 1) / stride * stride + stride; t >= stride;) {
    t -= stride;
    const uint8_t* row = rows.data + t * rows.token_bytes;
    // Backwards through a tile, a part of its rows: more than the processor foresees.
    const uint8_t* next = row + kTileTokens * rows.token_bytes;
    for (int i = 0; i < kDim * (kDtype == Dtype::kF32 ? 4 : 2); i += 64) __builtin_prefetch(next + i);
    __m512 x[2 * kPairs];
    for (int i = 0; i < kPairs; ++i) LoadEvenOdd<kDtype>(row, i, x + 2 * i);
    if ((rows.counted >> t & 1) == 0) {
      for (int i = 0; i < 2 * kPairs; ++i) x[i] = _mm512_setzero_ps();
    }
    for (int i = 0; i < kPairs; ++i) {
      const __m512 old = a[i];
      a[i] = _mm512_fmadd_ps(cosine[i], old, _mm512_fmadd_ps(sine[i], b[i], x[registers.first[i]]));
      b[i] = _mm512_fmadd_ps(cosine[i], b[i], _mm512_fnmadd_ps(sine[i], old, x[registers.second[i]]));
      even = _mm512_fmadd_ps(x[2 * i], x[2 * i], even);
      odd = _mm512_fmadd_ps(x[2 * i + 1], x[2 * i + 1], odd);
    }
  }
  for (int i = 0; i < kPairs; ++i) {
    _mm512_store_ps(sum.first + 16 * i, a[i]);
    _mm512_store_ps(sum.second + 16 * i, b[i]);
  }
  __m512 partial[16];
  for (__m512& p : partial) p = _mm512_add_ps(even, odd);
  *energy = _mm512_cvtss_f32(SumEach(partial));
}

// Back from even and odd coordinates to their order.
[[gnu::always_inline]] inline void StoreInOrder(__m512 even, __m512 odd, float* out) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  _mm512_store_ps(out, _mm512_permutex2var_ps(even, low, odd));
  _mm512_store_ps(out + 16, _mm512_permutex2var_ps(even, high, odd));
}

template <Dtype kDtype, int kDim>
uint64_t TakeMeanOff(const TurboEncodeRows& rows, const KeyPairs& pairs, const PairNumbers& mean, const float* turns,
                     float half_square, float* residual) {
  constexpr int kPairs = kDim / 32;
  constexpr uint32_t kBatch = 16;
  const PairRegisters<kDim> registers(pairs);
  alignas(64) float turned[kBatch][kDim];
  uint64_t taken = 0;
  for (uint32_t first = 0; first < rows.tokens; first += kBatch) {
    const uint32_t count = rows.tokens - first < kBatch ? rows.tokens - first : kBatch;
    __m512 partial[kBatch];
    for (uint32_t t = 0; t < kBatch; ++t) partial[t] = _mm512_setzero_ps();
    for (uint32_t t = 0; t < count; ++t) {
      const float* turn = turns + (first + t) * kDim;
      __m512 x[2 * kPairs], m[2 * kPairs];
      for (int i = 0; i < kPairs; ++i) LoadEvenOdd<kDtype>(rows.data + (first + t) * rows.token_bytes, i, x + 2 * i);
      for (int i = 0; i < kPairs; ++i) {
        const __m512 cosine = _mm512_loadu_ps(turn + 16 * i), sine = _mm512_loadu_ps(turn + kDim / 2 + 16 * i);
        const __m512 a = _mm512_load_ps(mean.first + 16 * i), b = _mm512_load_ps(mean.second + 16 * i);
        m[registers.first[i]] = _mm512_fmsub_ps(cosine, a, _mm512_mul_ps(sine, b));
        m[registers.second[i]] = _mm512_fmadd_ps(sine, a, _mm512_mul_ps(cosine, b));
      }
      __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
      for (int i = 0; i < 2 * kPairs; i += 2) {
        even = _mm512_fmadd_ps(x[i], m[i], even);
        odd = _mm512_fmadd_ps(x[i + 1], m[i + 1], odd);
      }
      partial[t] = _mm512_add_ps(even, odd);
      for (int i = 0; i < 2 * kPairs; ++i) _mm512_store_ps(turned[t] + 16 * i, m[i]);
    }
    const __mmask16 shorter = _mm512_cmp_ps_mask(SumEach(partial), _mm512_set1_ps(half_square), _CMP_GT_OQ);
    const auto counted = static_cast<__mmask16>(rows.counted >> first & ((1u << count) - 1));
    taken |= uint64_t{static_cast<uint16_t>(shorter & counted)} << first;
    for (uint32_t t = 0; t < count; ++t) {
      const __mmask16 take = (taken >> (first + t) & 1) != 0 ? 0xFFFF : 0;
      for (int i = 0; i < kPairs; ++i) {
        __m512 x[2];
        LoadEvenOdd<kDtype>(rows.data + (first + t) * rows.token_bytes, i, x);
        x[0] = _mm512_mask_sub_ps(x[0], take, x[0], _mm512_load_ps(turned[t] + 32 * i));
        x[1] = _mm512_mask_sub_ps(x[1], take, x[1], _mm512_load_ps(turned[t] + 32 * i + 16));
        StoreInOrder(x[0], x[1], residual + (first + t) * kDim + 32 * i);
      }
    }
  }
  return taken;
}

// Calls body.operator()<dtype, head_dim>().
template <Dtype kDtype, typename Body>
auto ForDim(uint32_t head_dim, Body body) {
  if (head_dim == 64) return body.template operator()<kDtype, 64>();
  if (head_dim == 128) return body.template operator()<kDtype, 128>();
  if (head_dim == 192) return body.template operator()<kDtype, 192>();
  return body.template operator()<kDtype, 256>();
}
template <typename Body>
auto ForShape(const TurboEncoderShape& shape, Body body) {
  const auto dtype = static_cast<Dtype>(shape.dtype);
  if (dtype == Dtype::kF32) return ForDim<Dtype::kF32>(shape.head_dim, body);
  if (dtype == Dtype::kF16) return ForDim<Dtype::kF16>(shape.head_dim, body);
  return ForDim<Dtype::kBF16>(shape.head_dim, body);
}

}  // namespace

void DirectionsAvx512(const uint64_t* phases, uint64_t position, uint32_t pairs, float* cosine, float* sine) {
  const __m512i n = _mm512_set1_epi64(static_cast<int64_t>(position));
  const __m512i upper_halves = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  for (uint32_t i = 0; i < pairs; i += 16) {
    const __m512i low = _mm512_mullo_epi64(_mm512_loadu_si512(phases + i), n);
    const __m512i high = _mm512_mullo_epi64(_mm512_loadu_si512(phases + i + 8), n);
    // The quarters and the rests depend on the upper halves alone.
    const __m512i turns = _mm512_permutex2var_epi32(low, upper_halves, high);
    const __m512i quarter = _mm512_srli_epi32(_mm512_add_epi32(turns, _mm512_set1_epi32(1 << 29)), 30);
    const __m512i rest = _mm512_sub_epi32(turns, _mm512_slli_epi32(quarter, 30));
    const __m512 u = _mm512_mul_ps(_mm512_cvtepi32_ps(rest), _mm512_set1_ps(0x1p-32f));
    __m512 s, c;
    SineCosine(u, s, c);
    const __mmask16 odd = _mm512_test_epi32_mask(quarter, _mm512_set1_epi32(1));
    const __mmask16 upper = _mm512_test_epi32_mask(quarter, _mm512_set1_epi32(2));
    const __m512 minus_zero = _mm512_set1_ps(-0.0f);
    const __m512 along = _mm512_mask_mov_ps(c, odd, s), across = _mm512_mask_mov_ps(s, odd, c);
    _mm512_storeu_ps(cosine + i, _mm512_mask_xor_ps(along, odd ^ upper, along, minus_zero));
    _mm512_storeu_ps(sine + i, _mm512_mask_xor_ps(across, upper, across, minus_zero));
  }
}

void AddMeanAvx512(const TurnedMean& turned, uint64_t position, uint64_t tokens, float* rows) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  const auto limit = [](__m512 x) __attribute__((always_inline)) {
    constexpr int kLesserMagnitude = 0x02;  // the sign of x, the minimum of magnitudes
    return _mm512_range_ps(x, _mm512_set1_ps(0x1.fffffep127f), kLesserMagnitude);
  };
  const auto add = [&](float* row, __m512 x) __attribute__((always_inline)) {
    _mm512_storeu_ps(row, limit(_mm512_add_ps(_mm512_loadu_ps(row), x)));
  };
  alignas(64) float cosine[128], sine[128];
  for (; tokens != 0; tokens &= tokens - 1) {
    const auto t = static_cast<uint32_t>(__builtin_ctzll(tokens));
    float* row = rows + t * turned.head_dim;
    DirectionsAvx512(turned.phases, position + t, turned.pairs, cosine, sine);
    for (uint32_t p = 0; p < turned.pairs; p += 16) {
      const float* at = turned.mean + (turned.interleaved ? 2 * p : p);
      __m512 a = _mm512_loadu_ps(at), b = _mm512_loadu_ps(turned.interleaved ? at + 16 : at + turned.pairs);
      if (turned.interleaved) {
        const __m512 first = a;
        a = _mm512_permutex2var_ps(first, even, b);
        b = _mm512_permutex2var_ps(first, odd, b);
      }
      const __m512 c = _mm512_load_ps(cosine + p), s = _mm512_load_ps(sine + p);
      const __m512 x = limit(_mm512_fmsub_ps(c, a, _mm512_mul_ps(s, b)));
      const __m512 y = limit(_mm512_fmadd_ps(s, a, _mm512_mul_ps(c, b)));
      if (turned.interleaved) {
        add(row + 2 * p, _mm512_permutex2var_ps(x, low, y));
        add(row + 2 * p + 16, _mm512_permutex2var_ps(x, high, y));
      } else {
        add(row + p, x);
        add(row + turned.pairs + p, y);
      }
    }
    for (uint32_t j = 2 * turned.pairs; j < turned.head_dim; j += 16) add(row + j, _mm512_loadu_ps(turned.mean + j));
  }
}

void SumKeysAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t stride, const KeyPairs& pairs,
                   const PairNumbers& step, PairNumbers& sum, float* energy) {
  ForShape(shape, [&]<Dtype kDtype, int kDim>() { SumKeys<kDtype, kDim>(rows, stride, pairs, step, sum, energy); });
}

uint64_t TakeMeanOffAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, const KeyPairs& pairs,
                           const PairNumbers& mean, const float* turns, float half_square, float* residual) {
  return ForShape(shape, [&]<Dtype kDtype, int kDim>() {
    return TakeMeanOff<kDtype, kDim>(rows, pairs, mean, turns, half_square, residual);
  });
}

}  // namespace polarkv::cpu
