// Rows of a tensor as the encoders' rotated integers (FORMAT.md, "Rotated vectors"), and the scales of their images. For sources
// compiled with AVX-512, VBMI and VNNI.
#ifndef POLARKV_KERNELS_CPU_ROTATE_ROWS_AVX512_H_
#define POLARKV_KERNELS_CPU_ROTATE_ROWS_AVX512_H_

#include <immintrin.h>

#include "codec/block_format.h"
#include "kernels/cpu/avx512_rows.h"
#include "kernels/cpu/turbo_encode.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kBatch = 16;  // tokens

template <Dtype kDtype>
constexpr uint32_t kBytesOf = kDtype == Dtype::kF32 ? 4 : 2;

// Whether rows are loaded as registers of even and of odd coordinates of 32, or of those below and above 16.
template <Dtype kDtype>
constexpr bool kEvenOdd = kDtype == Dtype::kBF16;

// Thirty-two coordinates as floats; kSigned: those that the rotation negates negated.
template <Dtype kDtype, bool kSigned>
[[gnu::always_inline]] inline void LoadFloats(const TurboEncoderShape& shape, const uint8_t* row, int block, __m512* out) {
  const auto load = [&](int half) __attribute__((always_inline)) {
    const __m512i raw = _mm512_loadu_si512(row + (kDtype == Dtype::kF32 ? 128 * block + 64 * half : 64 * block));
    if constexpr (!kSigned) return raw;
    if constexpr (kDtype == Dtype::kF32) return _mm512_xor_si512(raw, _mm512_load_si512(shape.sign_bits32 + 32 * block + 16 * half));
    return _mm512_xor_si512(raw, _mm512_load_si512(shape.sign_bits16 + 32 * block));
  };
  const __m512i raw = load(0);
  if constexpr (kDtype == Dtype::kF32) {
    out[0] = _mm512_castsi512_ps(raw);
    out[1] = _mm512_castsi512_ps(load(1));
  } else if constexpr (kDtype == Dtype::kF16) {
    out[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(raw));
    out[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(raw, 1));
  } else {
    out[0] = _mm512_castsi512_ps(_mm512_slli_epi32(raw, 16));
    out[1] = _mm512_castsi512_ps(_mm512_and_si512(raw, _mm512_set1_epi32(static_cast<int>(0xFFFF0000))));
  }
}

// Takes the largest coordinate's binade off a row, in place; returns it.
template <int kVectors>
[[gnu::always_inline]] inline int TakeBinade(__m512* x) {
  __m512 largest = _mm512_setzero_ps();
  for (int i = 0; i < kVectors; ++i) largest = _mm512_max_ps(largest, _mm512_abs_ps(x[i]));
  const float top = _mm512_reduce_max_ps(largest);
  if (!(top > 0)) return 0;
  const __m512 binade = _mm512_getexp_ps(_mm512_set1_ps(top));
  const __m512 down = _mm512_sub_ps(_mm512_setzero_ps(), binade);
  for (int i = 0; i < kVectors; ++i) x[i] = _mm512_scalef_ps(x[i], down);  // rounds once, if at all
  return static_cast<int>(_mm512_cvtss_f32(binade));
}

// A batch's rows without their binades; wide ones only.
template <int kDim>
struct WideRows {
  alignas(64) float row[kBatch][kDim];  // in registers as LoadFloats makes them
};

// Squared norms of a batch. kWide: of the rows without their binades, which are left in `wide`, and in `exponent`.
template <Dtype kDtype, int kDim, bool kWide>
[[gnu::always_inline]] inline __m512 SquaredNorms(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t first,
                                                  uint32_t count, WideRows<kDim>* wide, int32_t* exponent) {
  __m512 sums[2][kBatch];  // of the registers that LoadFloats makes; [0] of both if these are even and odd coordinates
  for (uint32_t t = count; t < kBatch; ++t) sums[0][t] = sums[1][t] = _mm512_setzero_ps();
  for (uint32_t t = 0; t < count; ++t) {
    const uint8_t* row = rows.data + (first + t) * rows.token_bytes;
    __m512 x[kDim / 16];
    for (int i = 0; i < kDim / 32; ++i) LoadFloats<kDtype, kWide>(shape, row, i, x + 2 * i);
    if constexpr (kWide) {
      exponent[t] = TakeBinade<kDim / 16>(x);
      for (int i = 0; i < kDim / 16; ++i) _mm512_store_ps(wide->row[t] + 16 * i, x[i]);
    }
    __m512 low = _mm512_mul_ps(x[0], x[0]), high = _mm512_mul_ps(x[1], x[1]);
    for (int i = 2; i < kDim / 16; i += 2) {
      low = _mm512_fmadd_ps(x[i], x[i], low);
      high = _mm512_fmadd_ps(x[i + 1], x[i + 1], high);
    }
    sums[0][t] = kEvenOdd<kDtype> ? _mm512_add_ps(low, high) : low;
    if constexpr (!kEvenOdd<kDtype>) sums[1][t] = high;
  }
  if constexpr (kEvenOdd<kDtype>) return SumEach(sums[0]);
  return _mm512_add_ps(SumEach(sums[0]), SumEach(sums[1]));
}

// Tokens whose arithmetic is the same with and without taking the largest coordinate's binade off first: nothing that counts
// beside such a norm is subnormal, nor does anything overflow.
[[gnu::always_inline]] inline __mmask16 PlainNorms(__m512 squared) {
  return _mm512_cmp_ps_mask(squared, _mm512_set1_ps(0x1p-60f), _CMP_GE_OQ) &
         _mm512_cmp_ps_mask(squared, _mm512_set1_ps(0x1p100f), _CMP_LE_OQ);
}

// The lower words of two registers of 32-bit numbers in the order of coordinates.
template <bool kFromEvenOdd>
inline constexpr auto kWordOrder = [] {
  struct Order {
    alignas(64) uint16_t source[32];
  } order{};
  for (uint16_t i = 0; i < 32; ++i) {
    order.source[i] = static_cast<uint16_t>(kFromEvenOdd ? i / 2 * 2 + i % 2 * 32 : i % 16 * 2 + i / 16 * 32);
  }
  return order;
}();

// A row at the integers' norm, negated as the rotation does.
template <Dtype kDtype, int kDim, bool kWide>
[[gnu::always_inline]] inline void IntegerRow(const TurboEncoderShape& shape, const uint8_t* row, const float* wide, float gain,
                                              __m512i* out) {
  const __m512 times = _mm512_set1_ps(gain);
  // Beside it there are no bits below the unit, and the lower word is the integer.
  const __m512 unit = _mm512_set1_ps(0x1.8p23f);
  const __m512i order = _mm512_load_si512(kWordOrder<kEvenOdd<kDtype>>.source);
  for (int i = 0; i < kDim / 32; ++i) {
    __m512 x[2];
    if constexpr (kWide) {
      x[0] = _mm512_load_ps(wide + 32 * i);
      x[1] = _mm512_load_ps(wide + 32 * i + 16);
    } else {
      LoadFloats<kDtype, true>(shape, row, i, x);
    }
    const __m512i low = _mm512_castps_si512(_mm512_fmadd_ps(x[0], times, unit));
    const __m512i high = _mm512_castps_si512(_mm512_fmadd_ps(x[1], times, unit));
    out[i] = _mm512_permutex2var_epi16(low, order, high);
  }
}

// The Hadamard transforms of kRows rows of integers; the places that they leave coordinates in are those of CodeOrder.
template <int kDim, int kRows>
[[gnu::always_inline]] inline void TransformRows(__m512i* x) {
  constexpr int kBlock = (kDim & -kDim) / 32;  // registers
  for (int stride = 1; stride < kBlock; stride *= 2) {
    for (int row = 0; row < kRows; ++row) HadamardAcross<kDim / 32>(x + row * kDim / 32, stride);
  }
  HadamardInside<kRows * kDim / 32>(x);
}

// Token `t` of a tile fetches a part of the next one: a line of each of a few runs that lie apart, which memory answers faster
// than one run.
template <uint32_t kLines>
[[gnu::always_inline]] inline void PrefetchNextTile(const TurboEncodeRows& rows, uint32_t t) {
  const uint8_t* next = rows.next != nullptr ? rows.next : rows.data + kTileTokens * rows.token_bytes;
  for (uint32_t i = 0; i < kLines; ++i) {
    const uint32_t line = i * kTileTokens + t;
    _mm_prefetch(next + line / kLines * rows.token_bytes + line % kLines * 64, _MM_HINT_T0);
  }
}

// Scales of a batch, and how much its codes err; from <y, C> and <C, C>.
template <bool kKeys>
[[gnu::always_inline]] inline void StoreBatchScales(const TurboEncoderShape& shape, __m512 norm, __m512i with_images,
                                                    __m512i images_squared, uint32_t first, TurboEncodedTile& tile) {
  const __m512 product = _mm512_cvtepi32_ps(with_images), square = _mm512_cvtepi32_ps(images_squared);
  const __mmask16 nonzero = _mm512_cmp_ps_mask(norm, _mm512_setzero_ps(), _CMP_GT_OQ) &
                            _mm512_cmp_ps_mask(kKeys ? product : square, _mm512_setzero_ps(), _CMP_GT_OQ);
  const __m512 rotated_norm = _mm512_set1_ps(shape.rotated_norm);
  const __m512 scale = kKeys ? _mm512_maskz_div_ps(nonzero, _mm512_mul_ps(norm, rotated_norm), product)
                             : _mm512_maskz_div_ps(nonzero, norm, _mm512_sqrt_ps(square));
  _mm512_store_ps(tile.mantissa + first, scale);
  // |x - s C|^2 / |x|^2 = 1 - 2 (s / n) <y, C> / |y| + (s / n)^2 <C, C>
  const __m512 relative = _mm512_maskz_div_ps(nonzero, scale, norm);
  const __m512 twice = _mm512_div_ps(_mm512_add_ps(product, product), rotated_norm);
  const __m512 error = _mm512_fmadd_ps(relative, _mm512_fmsub_ps(relative, square, twice), _mm512_set1_ps(1.0f));
  _mm512_store_ps(tile.error + first, _mm512_maskz_mov_ps(nonzero, error));
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_ROTATE_ROWS_AVX512_H_
