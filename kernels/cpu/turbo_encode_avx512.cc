// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
//
// Sixteen tokens go together, so that norms and scales are computed for sixteen lanes at once: first their norms, then each row
// as 16-bit integers in registers from its rotation to its codes. The results are those of FORMAT.md, "Rotated vectors".
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

// Sixteen tokens side by side. Numbers of other dtypes than BF16 are in their order, BF16 in registers of even and of odd ones:
// what the sums of their squares, and the places of their transforms, depend on.
template <Dtype kDtype>
constexpr bool kEvenOdd = kDtype == Dtype::kBF16;

// Thirty-two coordinates as floats.
template <Dtype kDtype>
[[gnu::always_inline]] inline void LoadFloats(const uint8_t* row, int block, __m512* out) {
  if constexpr (kDtype == Dtype::kF32) {
    out[0] = _mm512_loadu_ps(row + 128 * block);
    out[1] = _mm512_loadu_ps(row + 128 * block + 64);
  } else if constexpr (kDtype == Dtype::kF16) {
    out[0] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 64 * block)));
    out[1] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 64 * block + 32)));
  } else {
    const __m512i raw = _mm512_loadu_si512(row + 64 * block);
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

// Squared norms of a batch. kWide: of the rows without their binades, which are left in `wide` and `exponent`.
template <Dtype kDtype, int kDim, bool kWide>
[[gnu::always_inline]] inline __m512 SquaredNorms(const TurboEncodeRows& rows, uint32_t first, uint32_t count, WideRows<kDim>* wide,
                                                  int32_t* exponent) {
  __m512 low_sums[kBatch], high_sums[kBatch];  // even and odd ones, or of coordinates below and above 16, modulo 32
  for (uint32_t t = 0; t < kBatch; ++t) low_sums[t] = high_sums[t] = _mm512_setzero_ps();
  for (uint32_t t = 0; t < count; ++t) {
    const uint8_t* row = rows.data + (first + t) * rows.token_bytes;
    for (uint32_t i = 0; i < kDim * kBytesOf<kDtype>; i += 64) {
      _mm_prefetch(row + kTileTokens * rows.token_bytes + i, _MM_HINT_T0);  // the same place of the next tile
    }
    __m512 x[kDim / 16];
    for (int i = 0; i < kDim / 32; ++i) LoadFloats<kDtype>(row, i, x + 2 * i);
    if constexpr (kWide) {
      exponent[t] = TakeBinade<kDim / 16>(x);
      for (int i = 0; i < kDim / 16; ++i) _mm512_store_ps(wide->row[t] + 16 * i, x[i]);
    }
    for (int i = 0; i < kDim / 16; i += 2) {
      low_sums[t] = _mm512_fmadd_ps(x[i], x[i], low_sums[t]);
      high_sums[t] = _mm512_fmadd_ps(x[i + 1], x[i + 1], high_sums[t]);
    }
    if constexpr (kEvenOdd<kDtype>) low_sums[t] = _mm512_add_ps(low_sums[t], high_sums[t]);
  }
  if constexpr (kEvenOdd<kDtype>) return SumEach(low_sums);
  return _mm512_add_ps(SumEach(low_sums), SumEach(high_sums));
}

// Tokens whose arithmetic is the same with and without taking the largest coordinate's binade off first: nothing that counts
// beside such a norm is subnormal, nor does anything overflow.
[[gnu::always_inline]] inline __mmask16 PlainNorms(__m512 squared) {
  return _mm512_cmp_ps_mask(squared, _mm512_set1_ps(0x1p-60f), _CMP_GE_OQ) &
         _mm512_cmp_ps_mask(squared, _mm512_set1_ps(0x1p100f), _CMP_LE_OQ);
}

// Coordinates 64 i .. 64 i + 63 of a row at the integers' norm, negated as the rotation does: x[2 i] and x[2 i + 1].
template <Dtype kDtype, int kDim, bool kWide>
[[gnu::always_inline]] inline void IntegerRow(const TurboEncoderShape& shape, const uint8_t* row, const float* wide, float gain,
                                              __m512i* out) {
  const __m512 times = _mm512_set1_ps(gain);
  for (int i = 0; i < kDim / 32; ++i) {
    __m512 x[2];
    if constexpr (kWide) {
      x[0] = _mm512_load_ps(wide + 32 * i);
      x[1] = _mm512_load_ps(wide + 32 * i + 16);
    } else {
      LoadFloats<kDtype>(row, i, x);
    }
    const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(x[0], times)), high = _mm512_cvtps_epi32(_mm512_mul_ps(x[1], times));
    // Negation in two's complement: the ones' complement plus 1.
    const __m512i negated = _mm512_load_si512(shape.negated[kEvenOdd<kDtype>] + 32 * i);
    out[i] = _mm512_sub_epi16(_mm512_xor_si512(_mm512_packs_epi32(low, high), negated), negated);
  }
}

// The Hadamard transform of a row of integers; the places that it leaves coordinates in are those of CodeOrder.
template <int kDim>
[[gnu::always_inline]] inline void TransformRow(__m512i* x) {
  constexpr int kBlock = (kDim & -kDim) / 32;  // registers
  for (int stride = 1; stride < kBlock; stride *= 2) HadamardAcross<kDim / 32>(x, stride);
  for (int i = 0; i < kDim / 32; i += 2) HadamardInside(x[i], x[i + 1]);
}

// For coordinate i of 64 the byte that packing two transformed registers puts it in.
struct CodeOrder {
  alignas(64) uint8_t source[64];
};
template <bool kFromEvenOdd>
inline constexpr CodeOrder kCodeOrder = [] {
  CodeOrder order{};
  for (uint32_t i = 0; i < 64; ++i) {
    const auto bit = [i](uint32_t b) { return i >> b & 1; };
    // A word's place before the stages, as packing two registers of 32-bit numbers leaves it, from bit 4 down; then p4 p0 r
    // p2 p1, register p3, with r bit 5; and packing to bytes puts the register between p0 and r.
    const uint32_t even_odd[5] = {bit(4), bit(3), bit(0), bit(2), bit(1)}, plain[5] = {bit(3), bit(2), bit(4), bit(1), bit(0)};
    const uint32_t* p = kFromEvenOdd ? even_odd : plain;
    order.source[i] = static_cast<uint8_t>(p[0] << 5 | p[4] << 4 | p[1] << 3 | bit(5) << 2 | p[2] << 1 | p[3]);
  }
  return order;
}();

// By y / 32, rounded down and at most 127, for y >= 0: the code as of four bits; and by that code the image's magnitude, four
// times over.
struct LevelTable {
  alignas(64) uint8_t code[128];
  alignas(64) int8_t image[64];
};

template <int kBits>
inline constexpr LevelTable kLevelTable = [] {
  constexpr const TurboCodebook& kBook = kBits == 4 ? kTurbo4 : kBits == 3 ? kTurbo3 : kTurbo2;
  LevelTable table{};
  for (int y = 0; y < 128; ++y) {
    int code = 1 << (kBits - 1);
    for (const int threshold : TurboThresholds<kBits>()) code += 32 * y >= threshold ? 1 : 0;
    table.code[y] = static_cast<uint8_t>(code << (4 - kBits));
  }
  for (int m = 0; m < 64; ++m) table.image[m] = kBook.image[m % 16 >> (4 - kBits)];
  return table;
}();
static_assert([] {
  for (const int threshold : TurboThresholds<4>()) {
    if (threshold % 32 != 0) return false;
  }
  return TurboThresholds<3>()[0] % 32 == 0 && TurboThresholds<3>()[1] % 32 == 0 && TurboThresholds<3>()[2] % 32 == 0 &&
         TurboThresholds<2>()[0] % 32 == 0;
}());

struct LevelRegisters {
  __m512i low_codes, high_codes, images;
};

// Sums over a token's coordinates, of the lanes that they are in.
struct Products {
  __m512i with_images;
  __m512i images_squared;
};

// Codes of a rotated row, as of four bits, and sums of y * C and of C * C.
template <int kDim, int kBits, bool kFromEvenOdd>
[[gnu::always_inline]] inline Products QuantizeRow(const __m512i* y, const LevelRegisters& levels, uint8_t* codes) {
  const __m512i order = _mm512_load_si512(kCodeOrder<kFromEvenOdd>.source);
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(((1 << kBits) - 1) << (4 - kBits)));
  const __m512i zero = _mm512_setzero_si512();
  Products sums = {zero, zero};
  for (int part = 0; part < kDim / 64; ++part) {
    const __m512i a = y[2 * part], b = y[2 * part + 1];
    const __m512i steps = _mm512_packs_epi16(_mm512_srai_epi16(a, 5), _mm512_srai_epi16(b, 5));
    const __mmask64 negative = _mm512_movepi8_mask(steps);
    const __m512i mask = _mm512_movm_epi8(negative);
    const __m512i above = _mm512_permutex2var_epi8(levels.low_codes, _mm512_xor_si512(steps, mask), levels.high_codes);
    const __m512i image_magnitude = _mm512_permutexvar_epi8(above, levels.images);
    const __m512i image = _mm512_mask_sub_epi8(image_magnitude, negative, zero, image_magnitude);
    const __m512i code = Select(mask, _mm512_xor_si512(above, flip), above);
    _mm512_store_si512(codes + 64 * part, _mm512_permutexvar_epi8(order, code));
    sums.images_squared = _mm512_dpbusd_epi32(sums.images_squared, image_magnitude, image_magnitude);
    // Images as the upper bytes of words, in the places of a and b: four products of 26,624 and 127 * 256 at most.
    __m512i products = _mm512_dpwssd_epi32(zero, a, _mm512_unpacklo_epi8(zero, image));
    products = _mm512_dpwssd_epi32(products, b, _mm512_unpackhi_epi8(zero, image));
    sums.with_images = _mm512_add_epi32(sums.with_images, _mm512_srai_epi32(products, 8));
  }
  return sums;
}

// Scales of a batch, and how much its codes err.
template <bool kKeys>
[[gnu::always_inline]] inline void StoreBatchScales(const TurboEncoderShape& shape, __m512 norm, const __m512i* with_images,
                                                    const __m512i* images_squared, uint32_t first, TurboEncodedTile& tile) {
  const __mmask16 nonzero = _mm512_cmp_ps_mask(norm, _mm512_setzero_ps(), _CMP_GT_OQ);
  const __m512 product = _mm512_cvtepi32_ps(SumEachInteger(with_images)), square = _mm512_cvtepi32_ps(SumEachInteger(images_squared));
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

template <Dtype kDtype, int kDim, int kBits, bool kKeys, bool kWide>
[[gnu::always_inline]] inline void QuantizeBatch(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t first,
                                                 uint32_t count, __m512 squared_norm, const WideRows<kDim>* wide,
                                                 const LevelRegisters& levels, uint8_t* codes, TurboEncodedTile& tile) {
  const __m512 norm = _mm512_sqrt_ps(squared_norm);
  const __mmask16 nonzero = _mm512_cmp_ps_mask(norm, _mm512_setzero_ps(), _CMP_GT_OQ);
  alignas(64) float gain[kBatch];
  _mm512_store_ps(gain, _mm512_maskz_div_ps(nonzero, _mm512_set1_ps(shape.gain), norm));
  __m512i with_images[kBatch], images_squared[kBatch];
  for (uint32_t t = 0; t < count; ++t) {
    __m512i y[kDim / 32];
    IntegerRow<kDtype, kDim, kWide>(shape, rows.data + (first + t) * rows.token_bytes, kWide ? wide->row[t] : nullptr, gain[t], y);
    TransformRow<kDim>(y);
    const Products products = QuantizeRow<kDim, kBits, kEvenOdd<kDtype>>(y, levels, codes + t * kDim);
    with_images[t] = products.with_images;
    images_squared[t] = products.images_squared;
  }
  for (uint32_t t = count; t < kBatch; ++t) with_images[t] = images_squared[t] = _mm512_setzero_si512();
  for (uint32_t i = count * kDim; i < kBatch * kDim; i += 64) _mm512_store_si512(codes + i, _mm512_setzero_si512());
  StoreBatchScales<kKeys>(shape, norm, with_images, images_squared, first, tile);
}

template <Dtype kDtype, int kDim, int kBits, bool kKeys>
bool EncodeTile(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  alignas(64) uint8_t codes[kTileTokens * kDim];
  const LevelTable& table = kLevelTable<kBits>;
  const LevelRegisters levels = {_mm512_load_si512(table.code), _mm512_load_si512(table.code + 64), _mm512_load_si512(table.image)};
  for (uint32_t i = 0; i < kTileTokens; i += 16) _mm512_store_si512(tile.exponent + i, _mm512_setzero_si512());
  for (uint32_t first = 0; first < kTileTokens; first += kBatch) {
    const uint32_t count = rows.tokens <= first ? 0 : rows.tokens - first < kBatch ? rows.tokens - first : kBatch;
    const auto present = static_cast<__mmask16>((1u << count) - 1);
    const __m512 squared = SquaredNorms<kDtype, kDim, false>(rows, first, count, nullptr, nullptr);
    uint8_t* const batch_codes = codes + first * kDim;
    if ((PlainNorms(squared) | static_cast<__mmask16>(~present)) == 0xFFFF) {
      QuantizeBatch<kDtype, kDim, kBits, kKeys, false>(shape, rows, first, count, squared, nullptr, levels, batch_codes, tile);
      continue;
    }
    WideRows<kDim> wide;
    const __m512 wide_squared = SquaredNorms<kDtype, kDim, true>(rows, first, count, &wide, tile.exponent + first);
    // A number that is not finite leaves none of its token finite, whose binade does not matter then.
    if (_mm512_cmp_ps_mask(wide_squared, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ) != 0xFFFF) return false;
    QuantizeBatch<kDtype, kDim, kBits, kKeys, true>(shape, rows, first, count, wide_squared, &wide, levels, batch_codes, tile);
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
