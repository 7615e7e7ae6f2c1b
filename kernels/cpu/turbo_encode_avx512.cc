// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
//
// A row of coordinates stays in registers for its rotation. Sixteen tokens go together, so that norms and scales are
// computed for sixteen lanes at once. All operations are those of FORMAT.md, "Turbo codes", in its order.
#include "kernels/cpu/turbo_encode.h"

#include <immintrin.h>

#include "codec/block_format.h"
#include "codec/turbo_codebook.h"
#include "kernels/cpu/avx512_rows.h"
#include "kernels/cpu/turbo_pack_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kBatch = 16;  // tokens

template <Dtype kDtype>
constexpr uint32_t kBytesOf = kDtype == Dtype::kF32 ? 4 : 2;

template <Dtype kDtype>
inline __m512 LoadFloats(const uint8_t* row, int vector) {
  if constexpr (kDtype == Dtype::kF32) return _mm512_loadu_ps(row + 64 * vector);
  const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 32 * vector));
  if constexpr (kDtype == Dtype::kF16) return _mm512_cvtph_ps(raw);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
}

// Bits of magnitudes, and the bounds between which the arithmetic is the same with and without taking the largest
// coordinate's binade off first: no operation rounds a subnormal number or overflows then. With `u` the least bit of a
// nonzero coordinate that means, for all u and all largest M: u / M squared is a normal float, so is u squared.
template <Dtype kDtype>
struct Bounds {
  static constexpr uint32_t kInfinity = kDtype == Dtype::kF32 ? 0x7F800000u : kDtype == Dtype::kF16 ? 0x7C00u : 0x7F80u;
  // F32: [2^-22, 2^10) with 23 bits below; BF16: [2^-34, 2^14) with 7; F16: all, its least bit is 2^-24.
  static constexpr uint32_t kLeast = kDtype == Dtype::kF32 ? (127u - 22) << 23 : kDtype == Dtype::kF16 ? 1 : (127u - 34) << 7;
  static constexpr uint32_t kLimit =
      kDtype == Dtype::kF32 ? (127u + 10) << 23 : kDtype == Dtype::kF16 ? kInfinity : (127u + 14) << 7;
};

// What must be known of numbers before they are encoded.
enum class Range { kPlain, kWide, kNotFinite };

template <Dtype kDtype, int kDim>
inline Range Classify(const TurboEncodeRows& rows, uint32_t first, uint32_t end) {
  constexpr int kLines = kDim * static_cast<int>(kBytesOf<kDtype>) / 64;
  __m512i largest = _mm512_setzero_si512(), least = _mm512_set1_epi32(-1);  // of magnitudes; of magnitudes - 1
  for (uint32_t t = first; t < end; ++t) {
    const uint8_t* row = rows.data + t * rows.token_bytes;
    for (int i = 0; i < kLines; ++i) {
      const __m512i raw = _mm512_loadu_si512(row + 64 * i);
      if constexpr (kDtype == Dtype::kF32) {
        const __m512i magnitude = _mm512_and_si512(raw, _mm512_set1_epi32(0x7FFFFFFF));
        largest = _mm512_max_epu32(largest, magnitude);
        least = _mm512_min_epu32(least, _mm512_sub_epi32(magnitude, _mm512_set1_epi32(1)));
      } else {
        const __m512i magnitude = _mm512_and_si512(raw, _mm512_set1_epi16(0x7FFF));
        largest = _mm512_max_epu16(largest, magnitude);
        if constexpr (kDtype == Dtype::kBF16) {
          least = _mm512_min_epu16(least, _mm512_sub_epi16(magnitude, _mm512_set1_epi16(1)));
        }
      }
    }
  }
  using B = Bounds<kDtype>;
  if constexpr (kDtype == Dtype::kF32) {
    if (_mm512_cmpge_epu32_mask(largest, _mm512_set1_epi32(static_cast<int>(B::kInfinity))) != 0) return Range::kNotFinite;
    const bool plain = _mm512_cmpge_epu32_mask(largest, _mm512_set1_epi32(static_cast<int>(B::kLimit))) == 0 &&
                       _mm512_cmplt_epu32_mask(least, _mm512_set1_epi32(static_cast<int>(B::kLeast - 1))) == 0;
    return plain ? Range::kPlain : Range::kWide;
  } else {
    const auto word = [](uint32_t bits) { return _mm512_set1_epi16(static_cast<short>(bits)); };
    if (_mm512_cmpge_epu16_mask(largest, word(B::kInfinity)) != 0) return Range::kNotFinite;
    if constexpr (kDtype == Dtype::kF16) return Range::kPlain;
    const bool plain = _mm512_cmpge_epu16_mask(largest, word(B::kLimit)) == 0 &&
                       _mm512_cmplt_epu16_mask(least, word(B::kLeast - 1)) == 0;
    return plain ? Range::kPlain : Range::kWide;
  }
}

// Takes the largest coordinate's binade off a row; returns it.
template <int kVectors>
inline int TakeBinade(__m512* x) {
  __m512 largest = _mm512_setzero_ps();
  for (int i = 0; i < kVectors; ++i) largest = _mm512_max_ps(largest, _mm512_abs_ps(x[i]));
  const float top = _mm512_reduce_max_ps(largest);
  if (!(top > 0)) return 0;
  const __m512 binade = _mm512_getexp_ps(_mm512_set1_ps(top));
  const __m512 down = _mm512_sub_ps(_mm512_setzero_ps(), binade);
  for (int i = 0; i < kVectors; ++i) x[i] = _mm512_scalef_ps(x[i], down);  // rounds once, if at all
  return static_cast<int>(_mm512_cvtss_f32(binade));
}

// Rotated tokens of a batch and what their sums are made of.
template <int kDim>
struct Batch {
  alignas(64) float rotated[kBatch][kDim];
  __m512 low[kBatch], high[kBatch];  // partial sums 0..15 and 16..31
};

inline __m512 Sum(const __m512 low[kBatch], const __m512 high[kBatch]) {
  return _mm512_add_ps(SumEach(low), SumEach(high));
}

template <Dtype kDtype, int kDim, bool kWide>
inline void RotateBatch(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t first, uint32_t count,
                        Batch<kDim>& batch, int32_t* exponent) {
  constexpr int kVectors = kDim / 16;
  constexpr int kBlock = (kDim & -kDim) / 16;
  const __m512 minus_zero = _mm512_set1_ps(-0.0f);
  for (uint32_t t = 0; t < count; ++t) {
    const uint8_t* row = rows.data + (first + t) * rows.token_bytes;
    __m512 x[kVectors];
    for (int i = 0; i < kVectors; ++i) x[i] = LoadFloats<kDtype>(row, i);
    if constexpr (kWide) exponent[t] = TakeBinade<kVectors>(x);
    for (int i = 0; i < kVectors; ++i) {
      x[i] = _mm512_xor_ps(x[i], _mm512_and_ps(_mm512_load_ps(shape.signs + 16 * i), minus_zero));
    }
    HadamardRow<kVectors, kBlock>(x);
    __m512 low = _mm512_setzero_ps(), high = _mm512_setzero_ps();
    for (int i = 0; i < kVectors; i += 2) {
      low = _mm512_fmadd_ps(x[i], x[i], low);
      high = _mm512_fmadd_ps(x[i + 1], x[i + 1], high);
    }
    batch.low[t] = low;
    batch.high[t] = high;
    for (int i = 0; i < kVectors; ++i) _mm512_store_ps(batch.rotated[t] + 16 * i, x[i]);
  }
  for (uint32_t t = count; t < kBatch; ++t) {
    batch.low[t] = batch.high[t] = _mm512_setzero_ps();
    for (int i = 0; i < kVectors; ++i) _mm512_store_ps(batch.rotated[t] + 16 * i, _mm512_setzero_ps());
  }
}

// Level of |z| of each coordinate.
template <int kBits>
inline __m512i Levels(__m512 z) {
  if constexpr (kBits == 4) {
    constexpr int kLesserMagnitude = 0x0A;  // sign clear, minimum of magnitudes
    const __m512 u = _mm512_range_ps(z, _mm512_set1_ps(kTurbo4LevelLimit), kLesserMagnitude);
    constexpr float kLinear = kTurbo4LevelCubic[0], kSquare = kTurbo4LevelCubic[1], kCube = kTurbo4LevelCubic[2];
    __m512 cubic = _mm512_fmadd_ps(u, _mm512_set1_ps(kCube), _mm512_set1_ps(kSquare));
    cubic = _mm512_fmadd_ps(u, cubic, _mm512_set1_ps(kLinear));
    return _mm512_cvttps_epi32(_mm512_mul_ps(u, cubic));  // at most 7: 7.36 at the limit, where the cubic still rises
  }
  const __m512 magnitude = _mm512_abs_ps(z);
  const __m512i one = _mm512_set1_epi32(1);
  const auto reaches = [&](float threshold) {
    return _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(threshold), _CMP_GE_OQ);
  };
  constexpr float kOnly = kTurbo2Thresholds[0];
  if constexpr (kBits == 2) return _mm512_maskz_mov_epi32(reaches(kOnly), one);
  constexpr float kFirst = kTurbo3Thresholds[0], kSecond = kTurbo3Thresholds[1], kThird = kTurbo3Thresholds[2];
  __m512i level = _mm512_maskz_mov_epi32(reaches(kFirst), one);
  level = _mm512_mask_add_epi32(level, reaches(kSecond), level, one);
  return _mm512_mask_add_epi32(level, reaches(kThird), level, one);
}

// Images of the levels of z >= 0, as numbers and four times over as bytes.
struct LevelTable {
  alignas(64) float number[16];
  alignas(64) int8_t byte[64];
};

template <int kBits>
inline constexpr LevelTable kLevelTable = [] {
  constexpr const TurboCodebook& kBook = kBits == 4 ? kTurbo4 : kBits == 3 ? kTurbo3 : kTurbo2;
  LevelTable table{};
  for (int m = 0; m < 1 << (kBits - 1); ++m) {
    table.number[m] = kBook.image[(1 << (kBits - 1)) + m];
    for (int copy = 0; copy < 64; copy += 16) table.byte[copy + m] = kBook.image[(1 << (kBits - 1)) + m];
  }
  return table;
}();

struct LevelImages {
  __m512 number;
  __m512i byte;
};

// Codes of a rotated row, as of four bits, and the partial sums of the scale's denominator: of y * C for keys, of C * C
// for values, which are integers and exact in any order.
template <int kDim, int kBits, bool kKeys>
inline void QuantizeRow(const float* rotated, float to_unit_variance, const LevelImages& images, uint8_t* codes,
                        __m512& low, __m512& high) {
  const __m512 unit = _mm512_set1_ps(to_unit_variance);
  const __m512i half = _mm512_set1_epi8(1 << (kBits - 1));
  const __m512i below_half = _mm512_set1_epi8((1 << (kBits - 1)) - 1);
  const __m512i dword_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  low = high = _mm512_setzero_ps();
  __m512i squares = _mm512_setzero_si512();
  for (int part = 0; part < kDim / 64; ++part) {
    __m512i level[4];
    __mmask16 negative[4];
    for (int i = 0; i < 4; ++i) {
      const __m512 y = _mm512_load_ps(rotated + 64 * part + 16 * i);
      const __m512 z = _mm512_mul_ps(y, unit);
      negative[i] = _mm512_cmp_ps_mask(z, _mm512_setzero_ps(), _CMP_LT_OQ);
      level[i] = Levels<kBits>(z);
      if constexpr (kKeys) {
        // y and its image have the same sign, but for a y whose z underflows: too small to change the sum.
        __m512& sum = i % 2 == 0 ? low : high;
        sum = _mm512_fmadd_ps(_mm512_abs_ps(y), _mm512_permutexvar_ps(level[i], images.number), sum);
      }
    }
    const __m512i packed =
        _mm512_packus_epi16(_mm512_packs_epi32(level[0], level[1]), _mm512_packs_epi32(level[2], level[3]));
    const __m512i levels = _mm512_permutexvar_epi32(dword_order, packed);
    if constexpr (!kKeys) {
      const __m512i image = _mm512_permutexvar_epi8(levels, images.byte);
      squares = _mm512_dpbusd_epi32(squares, image, image);
    }
    const __mmask64 signs = _mm512_kunpackd(_mm512_kunpackw(negative[3], negative[2]), _mm512_kunpackw(negative[1], negative[0]));
    const __m512i code = _mm512_mask_sub_epi8(_mm512_add_epi8(levels, half), signs, below_half, levels);
    _mm512_store_si512(codes + 64 * part, _mm512_slli_epi16(code, 4 - kBits));
  }
  if constexpr (!kKeys) low = _mm512_cvtepi32_ps(squares);
}

template <int kDim, int kBits, bool kKeys>
inline void QuantizeBatch(const TurboEncoderShape& shape, uint32_t count, const LevelImages& images, Batch<kDim>& batch,
                          uint8_t* codes, float* mantissa) {
  const __m512 squared_norm = Sum(batch.low, batch.high);
  const __m512 norm = _mm512_sqrt_ps(squared_norm);
  const __mmask16 nonzero = _mm512_cmp_ps_mask(norm, _mm512_setzero_ps(), _CMP_GT_OQ);
  alignas(64) float to_unit_variance[kBatch];
  _mm512_store_ps(to_unit_variance, _mm512_maskz_div_ps(nonzero, _mm512_set1_ps(shape.root_dim), norm));
  for (uint32_t t = 0; t < kBatch; ++t) {
    if (t < count) {
      QuantizeRow<kDim, kBits, kKeys>(batch.rotated[t], to_unit_variance[t], images, codes + t * kDim, batch.low[t], batch.high[t]);
    } else {
      for (int i = 0; i < kDim; i += 64) _mm512_store_si512(codes + t * kDim + i, _mm512_setzero_si512());
    }
  }
  const __m512 sum = kKeys ? Sum(batch.low, batch.high) : _mm512_sqrt_ps(SumEach(batch.low));
  const __m512 scale = _mm512_maskz_div_ps(nonzero, kKeys ? squared_norm : norm, sum);
  _mm512_store_ps(mantissa, _mm512_maskz_mul_ps(nonzero, scale, _mm512_set1_ps(shape.rotation_scale)));
}

template <Dtype kDtype, int kDim, int kBits, bool kKeys>
bool EncodeTile(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  alignas(64) uint8_t codes[kTileTokens * kDim];
  Batch<kDim> batch;
  const LevelImages images = {_mm512_load_ps(kLevelTable<kBits>.number), _mm512_load_si512(kLevelTable<kBits>.byte)};
  for (uint32_t i = 0; i < kTileTokens; i += 16) _mm512_store_si512(tile.exponent + i, _mm512_setzero_si512());
  for (uint32_t first = 0; first < kTileTokens; first += kBatch) {
    const uint32_t count = rows.tokens <= first ? 0 : rows.tokens - first < kBatch ? rows.tokens - first : kBatch;
    const Range range = Classify<kDtype, kDim>(rows, first, first + count);
    if (range == Range::kNotFinite) return false;
    if (range == Range::kPlain) {
      RotateBatch<kDtype, kDim, false>(shape, rows, first, count, batch, tile.exponent + first);
    } else {
      RotateBatch<kDtype, kDim, true>(shape, rows, first, count, batch, tile.exponent + first);
    }
    QuantizeBatch<kDim, kBits, kKeys>(shape, count, images, batch, codes + first * kDim, tile.mantissa + first);
  }
  if constexpr (kKeys) {
    PackKeys<kDim, kBits>(codes, tile);
  } else {
    PackValues<kDim, kBits>(codes, tile);
  }
  return true;
}

using TileEncoder = bool (*)(const TurboEncoderShape&, const TurboEncodeRows&, TurboEncodedTile&);

template <Dtype kDtype, int kDim>
TileEncoder ForBits(uint32_t bits, bool keys) {
  if (bits == 2) return keys ? EncodeTile<kDtype, kDim, 2, true> : EncodeTile<kDtype, kDim, 2, false>;
  if (bits == 3) return keys ? EncodeTile<kDtype, kDim, 3, true> : EncodeTile<kDtype, kDim, 3, false>;
  return keys ? EncodeTile<kDtype, kDim, 4, true> : EncodeTile<kDtype, kDim, 4, false>;
}

template <Dtype kDtype>
TileEncoder ForDim(const TurboEncoderShape& shape) {
  if (shape.head_dim == 64) return ForBits<kDtype, 64>(shape.bits, shape.keys);
  if (shape.head_dim == 128) return ForBits<kDtype, 128>(shape.bits, shape.keys);
  if (shape.head_dim == 192) return ForBits<kDtype, 192>(shape.bits, shape.keys);
  return ForBits<kDtype, 256>(shape.bits, shape.keys);
}

}  // namespace

bool TurboEncodeAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  const auto dtype = static_cast<Dtype>(shape.dtype);
  const TileEncoder encode = dtype == Dtype::kF32   ? ForDim<Dtype::kF32>(shape)
                             : dtype == Dtype::kF16 ? ForDim<Dtype::kF16>(shape)
                                                    : ForDim<Dtype::kBF16>(shape);
  return encode(shape, rows, tile);
}

}  // namespace polarkv::cpu
