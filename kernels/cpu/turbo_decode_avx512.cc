// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
//
// A tile's images go through L1 as rows of bytes. A row's Hadamard transform is exact in 16-bit integers, 123 * 256 at
// most, so that its steps may come in any order.
#include "kernels/cpu/turbo_decode.h"

#include <immintrin.h>

#include "codec/block_format.h"
#include "kernels/cpu/turbo_words_avx512.h"

namespace polarkv::cpu {
namespace {

// Lines of the base plane and the refinement planes that hold the same rows: kBits of them count.
template <int kBits>
[[gnu::always_inline]] inline void DecodeLine(const __m512i table[4], const TurboDecodeTile& tile, uint32_t group, uint32_t line, __m512i bytes[4][2]) {
  const uint32_t refine = 512 * group + 64 * line;
  Decode<kBits>(table, tile.crumbs + 1024 * group + 64 * line, kBits >= 3 ? tile.refine1 + refine : nullptr,
                kBits == 4 ? tile.refine0 + refine : nullptr, bytes);
}

// images: [64 tokens][kDim]
template <int kBits, int kDim>
void UnpackKeys(const __m512i table[4], const TurboDecodeTile& tile, int8_t* images) {
  // Bytes of a chunk as they come, codes {15,11,7,3}, {13,9,5,1}, {14,10,6,2}, {12,8,4,0}, into ascending order.
  const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(15, 7, 11, 3, 14, 6, 10, 2, 13, 5, 9, 1, 12, 4, 8, 0));
  constexpr uint32_t kGroups = kDim / 64;
  for (uint32_t group = 0; group < kGroups; ++group) {
    for (uint32_t line = 0; line < 8; ++line) {  // 4 * half of the quarters + lane quarter
      __m512i bytes[4][2];
      DecodeLine<kBits>(table, tile, group, line, bytes);
      const uint32_t chunk = line % 4 * kGroups + group;
      for (uint32_t vector = 0; vector < 2; ++vector) {
        const __m512i w0 = bytes[2 * vector][0], w1 = bytes[2 * vector][1];
        const __m512i w2 = bytes[2 * vector + 1][0], w3 = bytes[2 * vector + 1][1];
        const __m512i low01 = _mm512_unpacklo_epi32(w0, w1), high01 = _mm512_unpackhi_epi32(w0, w1);
        const __m512i low23 = _mm512_unpacklo_epi32(w2, w3), high23 = _mm512_unpackhi_epi32(w2, w3);
        const __m512i rows[4] = {_mm512_unpacklo_epi64(low01, low23), _mm512_unpackhi_epi64(low01, low23),
                                 _mm512_unpacklo_epi64(high01, high23), _mm512_unpackhi_epi64(high01, high23)};
        for (uint32_t r = 0; r < 4; ++r) {  // lane quad (T0, e1), row (e2, e0)
          const __m512i row = _mm512_shuffle_epi8(rows[r], order);
          const uint32_t first = 32 * (line / 4) + 8 * vector + 4 * (r >> 1) + (r & 1);
          int8_t* out = images + first * kDim + 16 * chunk;
          _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm512_castsi512_si128(row));
          _mm_store_si128(reinterpret_cast<__m128i*>(out + 2 * kDim), _mm512_extracti32x4_epi32(row, 1));
          _mm_store_si128(reinterpret_cast<__m128i*>(out + 16 * kDim), _mm512_extracti32x4_epi32(row, 2));
          _mm_store_si128(reinterpret_cast<__m128i*>(out + 18 * kDim), _mm512_extracti32x4_epi32(row, 3));
        }
      }
    }
  }
}

// Four vectors of 16 rows x 4 tokens -> four tokens' rows of 64.
[[gnu::always_inline]] inline void SplitTokens(const __m512i in[4], __m512i out[4]) {
  alignas(64) static constexpr uint8_t kGather[64] = {
      0, 4, 8,  12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 1, 5, 9,  13, 17, 21, 25, 29, 33, 37, 41, 45, 49, 53, 57, 61,
      2, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50, 54, 58, 62, 3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47, 51, 55, 59, 63};
  __m512i split[4];  // 128-bit lane k: 16 rows of token k
  for (int i = 0; i < 4; ++i) split[i] = _mm512_permutexvar_epi8(_mm512_load_si512(kGather), in[i]);
  TransposeLanes(split, out);
}

template <int kBits, int kDim>
void UnpackValues(const __m512i table[4], const TurboDecodeTile& tile, int8_t* images) {
  for (uint32_t group = 0; group < kDim / 64; ++group) {
    for (uint32_t quarter = 0; quarter < 4; ++quarter) {
      __m512i bytes[2][4][2];
      DecodeLine<kBits>(table, tile, group, quarter, bytes[0]);
      DecodeLine<kBits>(table, tile, group, 4 + quarter, bytes[1]);
      for (uint32_t dword = 0; dword < 4; ++dword) {
        const uint32_t w = dword / 2, high = dword % 2;
        const __m512i in[4] = {bytes[0][w][high], bytes[1][w][high], bytes[0][2 + w][high], bytes[1][2 + w][high]};
        __m512i rows[4];
        SplitTokens(in, rows);
        const uint32_t first = 16 * quarter + kDwordFirstCode[w][high];
        for (uint32_t b = 0; b < 4; ++b) _mm512_store_si512(images + (first - 4 * b) * kDim + 64 * group, rows[b]);
      }
    }
  }
}

// Lanes i and i ^ stride become their sum and difference; `exchanged` has lane i ^ stride in lane i.
[[gnu::always_inline]] inline __m512i Butterfly(__m512i x, __m512i exchanged, __mmask32 upper) {
  return _mm512_mask_sub_epi16(_mm512_add_epi16(exchanged, x), upper, exchanged, x);
}

// Hadamard transform of each kBlock of kCount registers of 32 numbers, kBlock = 2, 4 or 8.
template <int kCount, int kBlock>
[[gnu::always_inline]] inline void HadamardImages(__m512i* x) {
  const __m512i swap_words = _mm512_broadcast_i32x4(_mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  for (int i = 0; i < kCount; ++i) {
    x[i] = Butterfly(x[i], _mm512_shuffle_epi8(x[i], swap_words), 0xAAAAAAAA);
    x[i] = Butterfly(x[i], _mm512_shuffle_epi32(x[i], _MM_PERM_CDAB), 0xCCCCCCCC);
    x[i] = Butterfly(x[i], _mm512_shuffle_epi32(x[i], _MM_PERM_BADC), 0xF0F0F0F0);
    x[i] = Butterfly(x[i], _mm512_shuffle_i32x4(x[i], x[i], 0xB1), 0xFF00FF00);
    x[i] = Butterfly(x[i], _mm512_shuffle_i32x4(x[i], x[i], 0x4E), 0xFFFF0000);
  }
  for (int stride = 1; stride < kBlock; stride *= 2) {
    for (int i = 0; i < kCount; ++i) {
      if ((i & stride) != 0) continue;
      const __m512i a = x[i], b = x[i + stride];
      x[i] = _mm512_add_epi16(a, b);
      x[i + stride] = _mm512_sub_epi16(a, b);
    }
  }
}

// What multiplies a token's numbers. A product of a float and of images or their sums, 16 bits, is rounded once; other
// factors are multiplied in double, where the product is exact or nearly so, and then rounded to float.
struct Factor {
  __m512d wide;
  __m512 narrow;
};

template <bool kNarrow>
[[gnu::always_inline]] inline __m512 Scale(__m256i numbers, const Factor& factor) {
  const __m512i whole = _mm512_cvtepi16_epi32(numbers);
  if constexpr (kNarrow) return _mm512_mul_ps(_mm512_cvtepi32_ps(whole), factor.narrow);
  const __m256 low = _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_cvtepi32_pd(_mm512_castsi512_si256(whole)), factor.wide));
  const __m256 high =
      _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(whole, 1)), factor.wide));
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

// To nearest even, in the upper half of each lane. VCVTNE2PS2BF16 would flush subnormals.
[[gnu::always_inline]] inline __m512i RoundToBFloat16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
}

// Thirty-two coordinates. Magnitudes are limited to the dtype's largest finite number only where `may_exceed`.
template <Dtype kDtype>
[[gnu::always_inline]] inline void Store(__m512 low, __m512 high, bool may_exceed, uint8_t* out) {
  if (may_exceed) {
    constexpr int kLesserMagnitude = 0x02;  // the sign of x, the minimum of magnitudes
    constexpr float kLargest = kDtype == Dtype::kF32 ? 0x1.fffffep127f : kDtype == Dtype::kF16 ? 65504.0f : 0x1.fep127f;
    low = _mm512_range_ps(low, _mm512_set1_ps(kLargest), kLesserMagnitude);
    high = _mm512_range_ps(high, _mm512_set1_ps(kLargest), kLesserMagnitude);
  }
  if constexpr (kDtype == Dtype::kF32) {
    _mm512_storeu_ps(out, low);
    _mm512_storeu_ps(out + 64, high);
  } else if constexpr (kDtype == Dtype::kF16) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtps_ph(low, kNearest));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32), _mm512_cvtps_ph(high, kNearest));
  } else {
    alignas(64) static constexpr uint16_t kUpperHalves[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                              23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                              45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    _mm512_storeu_si512(out, _mm512_permutex2var_epi16(RoundToBFloat16(low), _mm512_load_si512(kUpperHalves),
                                                       RoundToBFloat16(high)));
  }
}

// Sums of at most 256 images are below 2^15.
template <Dtype kDtype>
constexpr double kSafeFactor = kDtype == Dtype::kF16 ? 0x1p0 : 0x1p112;

template <Dtype kDtype, int kDim, bool kRotated, bool kNarrow>
[[gnu::always_inline]] inline void WriteRow(const TurboDecoderShape& shape, const int8_t* images, double token_factor,
                                            uint8_t* row) {
  __m512i x[kDim / 32];
  for (int i = 0; i < kDim / 32; ++i) {
    x[i] = _mm512_cvtepi8_epi16(_mm256_load_si256(reinterpret_cast<const __m256i*>(images + 32 * i)));
  }
  if constexpr (!kRotated) HadamardImages<kDim / 32, (kDim & -kDim) / 32>(x);
  const Factor factor = {_mm512_set1_pd(token_factor), _mm512_set1_ps(static_cast<float>(token_factor))};
  const bool may_exceed = token_factor > kSafeFactor<kDtype>;
  for (uint32_t i = 0; i < kDim / 32; ++i) {
    __m512 low = Scale<kNarrow>(_mm512_castsi512_si256(x[i]), factor);
    __m512 high = Scale<kNarrow>(_mm512_extracti64x4_epi64(x[i], 1), factor);
    if constexpr (!kRotated) {
      const __m512 minus_zero = _mm512_set1_ps(-0.0f);
      low = _mm512_mask_xor_ps(low, static_cast<__mmask16>(shape.negative[i]), low, minus_zero);
      high = _mm512_mask_xor_ps(high, static_cast<__mmask16>(shape.negative[i] >> 16), high, minus_zero);
    }
    Store<kDtype>(low, high, may_exceed, row + (kDtype == Dtype::kF32 ? 128 : 64) * i);
  }
}

template <Dtype kDtype, int kDim, bool kRotated>
void WriteRows(const TurboDecoderShape& shape, const TurboDecodeTile& tile, const int8_t* images) {
  constexpr uint32_t kBytes = kDtype == Dtype::kF32 ? 4 : 2;
  for (uint32_t t = 0; t < tile.tokens; ++t) {
    const double factor = tile.factor[t];
    uint8_t* row = tile.rows + t * kDim * kBytes;
    // A subnormal float would lose bits.
    const bool narrow = static_cast<double>(static_cast<float>(factor)) == factor && (factor >= 0x1p-126 || factor == 0);
    if (narrow) {
      WriteRow<kDtype, kDim, kRotated, true>(shape, images + t * kDim, factor, row);
    } else {
      WriteRow<kDtype, kDim, kRotated, false>(shape, images + t * kDim, factor, row);
    }
  }
}

template <int kBits, int kDim>
void DecodeTile(const TurboDecoderShape& shape, const TurboDecodeTile& tile) {
  alignas(64) int8_t images[kTileTokens * kDim];
  __m512i table[4];
  LoadTable(shape.table, table);
  if (shape.keys) {
    UnpackKeys<kBits, kDim>(table, tile, images);
  } else {
    UnpackValues<kBits, kDim>(table, tile, images);
  }
  const auto dtype = static_cast<Dtype>(shape.dtype);
  if (shape.rotated) {
    if (dtype == Dtype::kF32) return WriteRows<Dtype::kF32, kDim, true>(shape, tile, images);
    if (dtype == Dtype::kF16) return WriteRows<Dtype::kF16, kDim, true>(shape, tile, images);
    return WriteRows<Dtype::kBF16, kDim, true>(shape, tile, images);
  }
  if (dtype == Dtype::kF32) return WriteRows<Dtype::kF32, kDim, false>(shape, tile, images);
  if (dtype == Dtype::kF16) return WriteRows<Dtype::kF16, kDim, false>(shape, tile, images);
  return WriteRows<Dtype::kBF16, kDim, false>(shape, tile, images);
}

template <int kBits>
void ForDim(const TurboDecoderShape& shape, const TurboDecodeTile& tile) {
  if (shape.head_dim == 64) return DecodeTile<kBits, 64>(shape, tile);
  if (shape.head_dim == 128) return DecodeTile<kBits, 128>(shape, tile);
  if (shape.head_dim == 192) return DecodeTile<kBits, 192>(shape, tile);
  DecodeTile<kBits, 256>(shape, tile);
}

}  // namespace

void TurboDecodeAvx512(const TurboDecoderShape& shape, const TurboDecodeTile& tile) {
  if (shape.bits == 2) return ForDim<2>(shape, tile);
  if (shape.bits == 3) return ForDim<3>(shape, tile);
  ForDim<4>(shape, tile);
}

}  // namespace polarkv::cpu
