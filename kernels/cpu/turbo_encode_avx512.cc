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

// Thirty-two coordinates, those that the rotation negates negated.
template <Dtype kDtype>
[[gnu::always_inline]] inline void LoadBlock(const uint8_t* row, const TurboEncoderShape& shape, int block, __m512* out) {
  if constexpr (kDtype == Dtype::kF32) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512i low = _mm512_xor_si512(_mm512_loadu_si512(row + 128 * block), _mm512_load_si512(shape.sign_bits32 + 32 * block));
    const __m512i high =
        _mm512_xor_si512(_mm512_loadu_si512(row + 128 * block + 64), _mm512_load_si512(shape.sign_bits32 + 32 * block + 16));
    out[0] = _mm512_castsi512_ps(_mm512_permutex2var_epi32(low, even, high));
    out[1] = _mm512_castsi512_ps(_mm512_permutex2var_epi32(low, odd, high));
    return;
  }
  const __m512i raw = _mm512_xor_si512(_mm512_loadu_si512(row + 64 * block), _mm512_load_si512(shape.sign_bits16 + 32 * block));
  if constexpr (kDtype == Dtype::kBF16) {
    out[0] = _mm512_castsi512_ps(_mm512_slli_epi32(raw, 16));
    out[1] = _mm512_castsi512_ps(_mm512_and_si512(raw, _mm512_set1_epi32(static_cast<int>(0xFFFF0000))));
  } else {
    const __m512i odd = _mm512_srli_epi32(raw, 16);
    out[0] = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(raw));
    out[1] = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(odd));
  }
}

// The bounds between which the arithmetic is the same with and without taking the largest coordinate's binade off first,
// because no operation rounds a subnormal number or overflows either way: the least bit of a nonzero coordinate, divided by
// the largest coordinate and squared, is a normal float.
template <Dtype kDtype>
struct Bounds {
  // F32: [2^-22, 2^10] with 23 bits below; BF16: [2^-34, 2^14] with 7; F16: all, its least bit is 2^-24.
  static constexpr uint32_t kLeast = kDtype == Dtype::kF32 ? (127u - 22) << 23 : (127u - 34) << 7;  // as bits
  static constexpr float kLargest = kDtype == Dtype::kF32 ? 0x1p10f : kDtype == Dtype::kF16 ? 0x1p16f : 0x1p14f;
};

// Whether a batch's nonzero coordinates are all at or above the lower bound; looks at the bits of the numbers. Numbers
// above the upper bound show in the norms.
template <Dtype kDtype>
class SmallNumbers {
 public:
  void Add(__m512i raw) {
    // Minus twice the bits: the sign is gone, zero is 0, and the smaller the magnitude the larger.
    if constexpr (kDtype == Dtype::kF32) {
      largest_ = _mm512_max_epu32(largest_, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_add_epi32(raw, raw)));
    } else if constexpr (kDtype == Dtype::kBF16) {
      largest_ = _mm512_max_epu16(largest_, _mm512_mullo_epi16(raw, _mm512_set1_epi16(-2)));
    }
  }
  bool Any() const {
    if constexpr (kDtype == Dtype::kF32) {
      return _mm512_cmpgt_epu32_mask(largest_, _mm512_set1_epi32(static_cast<int>(0u - 2 * Bounds<kDtype>::kLeast))) != 0;
    } else if constexpr (kDtype == Dtype::kBF16) {
      return _mm512_cmpgt_epu16_mask(largest_, _mm512_set1_epi16(static_cast<short>(0u - 2 * Bounds<kDtype>::kLeast))) != 0;
    }
    return false;
  }

 private:
  __m512i largest_ = _mm512_setzero_si512();
};

// Takes the largest coordinate's binade off a row; returns it.
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

// Rotated tokens of a batch and what their sums are made of.
template <int kDim>
struct Batch {
  alignas(64) float rotated[kBatch][kDim];  // in the registers' order
  __m512 partial[kBatch];                   // sums of coordinates 2 i and 2 i + 1, modulo 32, added
};

// False, in the plain form, if the wide one must be taken instead.
template <Dtype kDtype, int kDim, bool kWide>
[[gnu::always_inline]] inline bool RotateBatch(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t first, uint32_t count,
                        Batch<kDim>& batch, int32_t* exponent, __m512& squared_norm) {
  constexpr int kVectors = kDim / 16;
  constexpr int kBlock = (kDim & -kDim) / 16;
  SmallNumbers<kDtype> small;
  for (uint32_t t = 0; t < count; ++t) {
    const uint8_t* row = rows.data + (first + t) * rows.token_bytes;
    for (int i = 0; i < kVectors * static_cast<int>(kBytesOf<kDtype>) / 4; ++i) {
      _mm_prefetch(row + kTileTokens * rows.token_bytes + 64 * i, _MM_HINT_T0);  // the same place of the next tile
    }
    __m512 x[kVectors];
    for (int i = 0; i < kVectors / 2; ++i) LoadBlock<kDtype>(row, shape, i, x + 2 * i);
    if constexpr (kWide) {
      exponent[t] = TakeBinade<kVectors>(x);
    } else {
      for (int i = 0; i < kVectors * static_cast<int>(kBytesOf<kDtype>) / 4; ++i) small.Add(_mm512_loadu_si512(row + 64 * i));
    }
    HadamardRow<kVectors, kBlock>(x);
    __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
    for (int i = 0; i < kVectors; i += 2) {
      even = _mm512_fmadd_ps(x[i], x[i], even);
      odd = _mm512_fmadd_ps(x[i + 1], x[i + 1], odd);
    }
    batch.partial[t] = _mm512_add_ps(even, odd);
    for (int i = 0; i < kVectors; ++i) _mm512_store_ps(batch.rotated[t] + 16 * i, x[i]);
  }
  for (uint32_t t = count; t < kBatch; ++t) batch.partial[t] = _mm512_setzero_ps();
  squared_norm = SumEach(batch.partial);
  if constexpr (kWide) return true;
  // The rotation as it is multiplies norms by the root of its block: of those with a larger coordinate none passes. NaN
  // does not either.
  const __m512 limit = _mm512_set1_ps(Bounds<kDtype>::kLargest * Bounds<kDtype>::kLargest);
  return !small.Any() && _mm512_cmp_ps_mask(squared_norm, limit, _CMP_LT_OQ) == 0xFFFF;
}

// Level of |z| of each coordinate.
template <int kBits>
[[gnu::always_inline]] inline __m512i Levels(__m512 z) {
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

// Codes of a rotated row, as of four bits, and the partial sums of y * C and of C * C. The latter are integers and exact in
// any order.
struct Products {
  __m512 with_images;
  __m512 images_squared;
};

template <int kDim, int kBits, bool kWide>
[[gnu::always_inline]] inline Products QuantizeRow(const float* rotated, float to_unit_variance,
                                                   const LevelImages& images, uint8_t* codes) {
  // Bytes as two packs leave them, registers in the order 0, 2, 1, 3, into the order of coordinates.
  alignas(64) static constexpr uint8_t kOrder[64] = {
      0,  8,  1,  9,  2,  10, 3,  11, 16, 24, 17, 25, 18, 26, 19, 27, 32, 40, 33, 41, 34, 42,
      35, 43, 48, 56, 49, 57, 50, 58, 51, 59, 4,  12, 5,  13, 6,  14, 7,  15, 20, 28, 21, 29,
      22, 30, 23, 31, 36, 44, 37, 45, 38, 46, 39, 47, 52, 60, 53, 61, 54, 62, 55, 63};
  const __m512 unit = _mm512_set1_ps(to_unit_variance);
  const __m512i half = _mm512_set1_epi8(1 << (kBits - 1));
  const __m512i below_half = _mm512_set1_epi8((1 << (kBits - 1)) - 1);
  const __m512i order = _mm512_load_si512(kOrder);
  __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
  __m512i squares = _mm512_setzero_si512();
  for (int part = 0; part < kDim / 64; ++part) {
    __m512i level[4], sign[4];
    for (int i = 0; i < 4; ++i) {
      const __m512 y = _mm512_load_ps(rotated + 64 * part + 16 * i);
      // Adding 0 makes a negative zero positive: only what is below 0 has a lower code. In the plain form a product does
      // not underflow, so that fma gives the same.
      const __m512 z = kWide ? _mm512_add_ps(_mm512_mul_ps(y, unit), _mm512_setzero_ps())
                             : _mm512_fmadd_ps(y, unit, _mm512_setzero_ps());
      sign[i] = _mm512_castps_si512(z);
      level[i] = Levels<kBits>(z);
      // y and its image have the same sign, but for a y whose z underflows: too small to change the sum.
      __m512& sum = i % 2 == 0 ? even : odd;
      sum = _mm512_fmadd_ps(_mm512_abs_ps(y), _mm512_permutexvar_ps(level[i], images.number), sum);
    }
    const __m512i levels =
        _mm512_packus_epi16(_mm512_packs_epi32(level[0], level[2]), _mm512_packs_epi32(level[1], level[3]));
    const __mmask64 negative = _mm512_movepi8_mask(
        _mm512_packs_epi16(_mm512_packs_epi32(sign[0], sign[2]), _mm512_packs_epi32(sign[1], sign[3])));
    const __m512i image = _mm512_permutexvar_epi8(levels, images.byte);
    squares = _mm512_dpbusd_epi32(squares, image, image);
    const __m512i code = _mm512_mask_sub_epi8(_mm512_add_epi8(levels, half), negative, below_half, levels);
    _mm512_store_si512(codes + 64 * part, _mm512_permutexvar_epi8(order, _mm512_slli_epi16(code, 4 - kBits)));
  }
  return {_mm512_add_ps(even, odd), _mm512_cvtepi32_ps(squares)};
}

template <int kDim, int kBits, bool kKeys, bool kWide>
[[gnu::always_inline]] inline void QuantizeBatch(const TurboEncoderShape& shape, uint32_t first, uint32_t count,
                                                 __m512 squared_norm, const LevelImages& images, Batch<kDim>& batch,
                                                 uint8_t* codes, TurboEncodedTile& tile) {
  const __m512 norm = _mm512_sqrt_ps(squared_norm);
  const __mmask16 nonzero = _mm512_cmp_ps_mask(norm, _mm512_setzero_ps(), _CMP_GT_OQ);
  alignas(64) float to_unit_variance[kBatch];
  _mm512_store_ps(to_unit_variance, _mm512_maskz_div_ps(nonzero, _mm512_set1_ps(shape.root_dim), norm));
  __m512 squares[kBatch];
  for (uint32_t t = 0; t < count; ++t) {
    const Products products =
        QuantizeRow<kDim, kBits, kWide>(batch.rotated[t], to_unit_variance[t], images, codes + t * kDim);
    batch.partial[t] = products.with_images;
    squares[t] = products.images_squared;
  }
  for (uint32_t t = count; t < kBatch; ++t) squares[t] = _mm512_setzero_ps();
  for (uint32_t i = count * kDim; i < kBatch * kDim; i += 64) _mm512_store_si512(codes + i, _mm512_setzero_si512());
  const __m512 product = SumEach(batch.partial), square = SumEach(squares);
  const __m512 scale = kKeys ? _mm512_maskz_div_ps(nonzero, squared_norm, product)
                             : _mm512_maskz_div_ps(nonzero, norm, _mm512_sqrt_ps(square));
  _mm512_store_ps(tile.mantissa + first, _mm512_maskz_mul_ps(nonzero, scale, _mm512_set1_ps(shape.rotation_scale)));
  // |y - s C|^2 / |y|^2
  const __m512 relative = _mm512_maskz_div_ps(nonzero, scale, squared_norm);
  const __m512 error = _mm512_fmadd_ps(relative, _mm512_fmsub_ps(scale, square, _mm512_add_ps(product, product)),
                                       _mm512_set1_ps(1.0f));
  _mm512_store_ps(tile.error + first, _mm512_maskz_mov_ps(nonzero, error));
}

template <Dtype kDtype, int kDim, int kBits, bool kKeys>
bool EncodeTile(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  alignas(64) uint8_t codes[kTileTokens * kDim];
  Batch<kDim> batch;
  const LevelImages images = {_mm512_load_ps(kLevelTable<kBits>.number), _mm512_load_si512(kLevelTable<kBits>.byte)};
  for (uint32_t i = 0; i < kTileTokens; i += 16) _mm512_store_si512(tile.exponent + i, _mm512_setzero_si512());
  for (uint32_t first = 0; first < kTileTokens; first += kBatch) {
    const uint32_t count = rows.tokens <= first ? 0 : rows.tokens - first < kBatch ? rows.tokens - first : kBatch;
    __m512 squared_norm;
    if (RotateBatch<kDtype, kDim, false>(shape, rows, first, count, batch, tile.exponent + first, squared_norm)) {
      QuantizeBatch<kDim, kBits, kKeys, false>(shape, first, count, squared_norm, images, batch, codes + first * kDim, tile);
      continue;
    }
    RotateBatch<kDtype, kDim, true>(shape, rows, first, count, batch, tile.exponent + first, squared_norm);
    // A number that is not finite leaves none of its token finite, whose binade does not matter then.
    if (_mm512_cmp_ps_mask(squared_norm, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ) != 0xFFFF) return false;
    QuantizeBatch<kDim, kBits, kKeys, true>(shape, first, count, squared_norm, images, batch, codes + first * kDim, tile);
  }
  for (uint32_t t = 0; t < rows.tokens && rows.counted != ~uint64_t{0}; ++t) {
    if ((rows.counted >> t & 1) != 0) continue;
    for (uint32_t i = 0; i < kDim; i += 64) _mm512_store_si512(codes + t * kDim + i, _mm512_setzero_si512());
    tile.mantissa[t] = tile.error[t] = 0;
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

template <Dtype kDtype, int kDim>
void SumKeys(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t first, const KeyPairs& pairs, float* sum,
             float* energy) {
  constexpr int kVectors = kDim / 16, kPairs = kVectors / 2;
  int one[kPairs], other[kPairs];  // registers of pair register i
  const int apart = static_cast<int>(pairs.distance) / 16;
  for (int i = 0; i < kPairs; ++i) {
    one[i] = i < apart ? i : 2 * i;
    other[i] = i < apart ? i + apart : 2 * i + 1;
  }
  __m512 cosine[kPairs], sine[kPairs], sums[kVectors];
  __m512 square = _mm512_setzero_ps();
  for (int i = 0; i < kPairs; ++i) {
    cosine[i] = _mm512_load_ps(pairs.start->cosine + 16 * i);
    sine[i] = _mm512_load_ps(pairs.start->sine + 16 * i);
  }
  for (int i = 0; i < kVectors; ++i) sums[i] = _mm512_setzero_ps();
  for (uint32_t t = 0; t < rows.tokens; ++t) {
    if (t >= first) {
      __m512 x[kVectors];
      for (int i = 0; i < kVectors / 2; ++i) LoadBlock<kDtype>(rows.data + t * rows.token_bytes, shape, i, x + 2 * i);
      for (int i = 0; i < kPairs; ++i) {
        const __m512 a = x[one[i]], b = x[other[i]];
        sums[2 * i] = _mm512_fmadd_ps(cosine[i], a, _mm512_fmadd_ps(sine[i], b, sums[2 * i]));
        sums[2 * i + 1] = _mm512_fmadd_ps(cosine[i], b, _mm512_fnmadd_ps(sine[i], a, sums[2 * i + 1]));
        square = _mm512_fmadd_ps(a, a, _mm512_fmadd_ps(b, b, square));
      }
    }
    for (int i = 0; i < kPairs; ++i) {
      const __m512 c = _mm512_load_ps(pairs.step->cosine + 16 * i), s = _mm512_load_ps(pairs.step->sine + 16 * i);
      const __m512 old = cosine[i];
      cosine[i] = _mm512_fmsub_ps(old, c, _mm512_mul_ps(sine[i], s));
      sine[i] = _mm512_fmadd_ps(sine[i], c, _mm512_mul_ps(old, s));
    }
  }
  for (int i = 0; i < kVectors; ++i) _mm512_storeu_ps(sum + 16 * i, _mm512_add_ps(_mm512_loadu_ps(sum + 16 * i), sums[i]));
  *energy += _mm512_reduce_add_ps(square);
}

template <Dtype kDtype>
void SumKeysForDim(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t first, const KeyPairs& pairs,
                   float* sum, float* energy) {
  if (shape.head_dim == 64) return SumKeys<kDtype, 64>(shape, rows, first, pairs, sum, energy);
  if (shape.head_dim == 128) return SumKeys<kDtype, 128>(shape, rows, first, pairs, sum, energy);
  if (shape.head_dim == 192) return SumKeys<kDtype, 192>(shape, rows, first, pairs, sum, energy);
  SumKeys<kDtype, 256>(shape, rows, first, pairs, sum, energy);
}

}  // namespace

void SumKeysAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t first, const KeyPairs& pairs,
                   float* sum, float* energy) {
  const auto dtype = static_cast<Dtype>(shape.dtype);
  if (dtype == Dtype::kF32) return SumKeysForDim<Dtype::kF32>(shape, rows, first, pairs, sum, energy);
  if (dtype == Dtype::kF16) return SumKeysForDim<Dtype::kF16>(shape, rows, first, pairs, sum, energy);
  SumKeysForDim<Dtype::kBF16>(shape, rows, first, pairs, sum, energy);
}

void ScaleStepsAvx512(const ScaleTables& tables, const TurboEncodedTile& tile, int32_t* steps) {
  const __m512i one = _mm512_set1_epi32(1), last = _mm512_set1_epi32(63);
  for (int i = 0; i < 64; i += 16) {
    const __m512 scale = _mm512_load_ps(tile.mantissa + i);
    const __mmask16 nonzero = _mm512_cmp_ps_mask(scale, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 m = _mm512_getmant_ps(scale, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
    const __m512i binade = _mm512_cvtps_epi32(_mm512_getexp_ps(scale));
    // Thresholds up to the 1/64 below m are counted by a table; between that and m are two at most.
    const __m512i interval = _mm512_and_si512(_mm512_srli_epi32(_mm512_castps_si512(m), 17), last);
    __m512i step = _mm512_i32gather_epi32(interval, tables.below, 4);
    for (int more = 0; more < 2; ++more) {
      const __m512 next = _mm512_i32gather_ps(_mm512_min_epi32(step, last), tables.thresholds, 4);
      const __mmask16 reached =
          _mm512_cmp_ps_mask(m, next, _CMP_GE_OQ) & _mm512_cmple_epi32_mask(step, last);
      step = _mm512_mask_add_epi32(step, reached, step, one);
    }
    const __m512i exponent = _mm512_add_epi32(binade, _mm512_load_si512(tile.exponent + i));
    step = _mm512_add_epi32(step, _mm512_slli_epi32(exponent, 6));
    _mm512_storeu_si512(steps + i, _mm512_mask_mov_epi32(_mm512_set1_epi32(kNoStep), nonzero, step));
  }
}

bool TurboEncodeAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  const auto dtype = static_cast<Dtype>(shape.dtype);
  const TileEncoder encode = dtype == Dtype::kF32   ? ForDim<Dtype::kF32>(shape)
                             : dtype == Dtype::kF16 ? ForDim<Dtype::kF16>(shape)
                                                    : ForDim<Dtype::kBF16>(shape);
  return encode(shape, rows, tile);
}

}  // namespace polarkv::cpu
