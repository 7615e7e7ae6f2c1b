// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
//
// Sixteen tokens go together, so that norms and scales are computed for sixteen lanes at once: first their norms, then each row
// as 16-bit integers in registers from its rotation to its codes. The results are those of FORMAT.md, "Rotated vectors".
#include "kernels/cpu/turbo_encode.h"

#include <immintrin.h>

#include "codec/block_format.h"
#include "codec/turbo_codebook.h"
#include "kernels/cpu/rotate_rows_avx512.h"
#include "kernels/cpu/turbo_pack_avx512.h"

namespace polarkv::cpu {
namespace {

// For coordinate i of 64 the byte that packing two transformed registers puts it in.
struct CodeOrder {
  alignas(64) uint8_t source[64];
};
inline constexpr CodeOrder kCodeOrder = [] {
  CodeOrder order{};
  for (uint32_t i = 0; i < 64; ++i) {
    // A word's place is 4 0 5 2 1 in bits of i, its register 3; packing to bytes puts the register below the 128-bit lane.
    const auto bit = [i](uint32_t b) { return i >> b & 1; };
    order.source[i] = static_cast<uint8_t>(bit(4) << 5 | bit(0) << 4 | bit(3) << 3 | bit(5) << 2 | bit(2) << 1 | bit(1));
  }
  return order;
}();

// By y / 32 rounded down and limited to -128 .. 127, modulo 256: the code as of four bits. By that code, as a code of kBits, its
// image and its magnitude, four times over.
struct CodeTable {
  alignas(64) uint8_t code[256];
  alignas(64) int8_t image[64];
  alignas(64) int8_t magnitude[64];
};

template <int kBits>
inline constexpr CodeTable kCodeTable = [] {
  constexpr const TurboCodebook& kBook = kBits == 4 ? kTurbo4 : kBits == 3 ? kTurbo3 : kTurbo2;
  constexpr int kHalf = 1 << (kBits - 1), kLift = 4 - kBits;
  CodeTable table{};
  for (int y = -128; y < 128; ++y) {
    int level = 0;
    for (const int threshold : TurboThresholds<kBits>()) level += 32 * (y < 0 ? -1 - y : y) >= threshold ? 1 : 0;
    table.code[y & 255] = static_cast<uint8_t>((y < 0 ? kHalf - 1 - level : kHalf + level) << kLift);
  }
  for (int m = 0; m < 64; ++m) {
    table.image[m] = kBook.image[m % 16 >> kLift];
    table.magnitude[m] = static_cast<int8_t>(table.image[m] < 0 ? -table.image[m] : table.image[m]);
  }
  return table;
}();

// What the table says must not depend on what rounding y / 32 down loses.
template <int kBits>
constexpr bool ThresholdsAreMultiples() {
  for (const int threshold : TurboThresholds<kBits>()) {
    if (threshold % 32 != 0) return false;
  }
  return true;
}
static_assert(ThresholdsAreMultiples<2>() && ThresholdsAreMultiples<3>() && ThresholdsAreMultiples<4>());

struct CodeRegisters {
  explicit CodeRegisters(const CodeTable& table)
      : image(_mm512_load_si512(table.image)), magnitude(_mm512_load_si512(table.magnitude)) {
    for (int i = 0; i < 4; ++i) code[i] = _mm512_load_si512(table.code + 64 * i);
  }
  __m512i code[4];
  __m512i image, magnitude;
};

// Sums over a token's coordinates, of the lanes that they are in.
struct Products {
  __m512i with_images;
  __m512i images_squared;
};

// Codes of rotated rows, as of four bits, and sums of y * C and of C * C. All registers go through each step together, so that
// instructions that follow each other are independent.
template <int kDim, int kRows, int kBits>
[[gnu::always_inline]] inline void QuantizeRows(const __m512i* y, const CodeRegisters& table, uint8_t* const* codes, Products* sums) {
  constexpr int kParts = kDim / 64, kAll = kRows * kParts;
  const __m512i order = _mm512_load_si512(kCodeOrder.source);
  const __m512i over_32 = _mm512_set1_epi16(2048), zero = _mm512_setzero_si512();
  __m512i code[kAll], magnitude[kAll], image[kAll], products[kAll];
  for (int i = 0; i < kAll; ++i) {
    code[i] = _mm512_packs_epi16(_mm512_mulhi_epi16(y[2 * i], over_32), _mm512_mulhi_epi16(y[2 * i + 1], over_32));
  }
  for (int i = 0; i < kAll; ++i) {
    const __mmask64 negative = _mm512_movepi8_mask(code[i]);
    code[i] = _mm512_mask2_permutex2var_epi8(table.code[2], code[i], negative, table.code[3]);
    code[i] = _mm512_mask2_permutex2var_epi8(table.code[0], code[i], _knot_mask64(negative), table.code[1]);
  }
  for (int i = 0; i < kAll; ++i) {
    image[i] = _mm512_permutexvar_epi8(code[i], table.image);
    magnitude[i] = _mm512_permutexvar_epi8(code[i], table.magnitude);
    _mm512_store_si512(codes[i / kParts] + i % kParts * 64, _mm512_permutexvar_epi8(order, code[i]));
  }
  // Images as the upper bytes of words, in the places of y: four products of 26,624 and 127 * 256 at most in a lane.
  for (int i = 0; i < kAll; ++i) products[i] = _mm512_dpwssd_epi32(zero, y[2 * i], _mm512_unpacklo_epi8(zero, image[i]));
  for (int i = 0; i < kAll; ++i) {
    products[i] = _mm512_dpwssd_epi32(products[i], y[2 * i + 1], _mm512_unpackhi_epi8(zero, image[i]));
  }
  for (int row = 0; row < kRows; ++row) {
    __m512i with_images = zero, squares = zero;
    for (int i = row * kParts; i < (row + 1) * kParts; ++i) {
      squares = _mm512_dpbusd_epi32(squares, magnitude[i], magnitude[i]);
      with_images = _mm512_add_epi32(with_images, _mm512_srai_epi32(products[i], 8));
    }
    sums[row] = {with_images, squares};
  }
}

template <Dtype kDtype, int kDim, int kBits, bool kKeys, bool kWide>
[[gnu::always_inline]] inline void QuantizeBatch(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t first,
                                                 uint32_t count, __m512 squared_norm, const WideRows<kDim>* wide,
                                                 const CodeRegisters& table, uint8_t* codes, TurboEncodedTile& tile) {
  const __m512 norm = _mm512_sqrt_ps(squared_norm);
  const __mmask16 nonzero = _mm512_cmp_ps_mask(norm, _mm512_setzero_ps(), _CMP_GT_OQ);
  alignas(64) float gain[kBatch];
  _mm512_store_ps(gain, _mm512_maskz_div_ps(nonzero, _mm512_set1_ps(shape.gain), norm));
  __m512i with_images[kBatch], images_squared[kBatch];
  constexpr int kRows = kDim <= 128 ? 2 : 1;
  for (uint32_t t = 0; t < count; t += kRows) {
    __m512i y[kRows * kDim / 32];
    uint8_t* row_codes[kRows];
    Products products[kRows];
    for (uint32_t r = 0; r < kRows; ++r) {
      const uint32_t token = t + r < count ? t + r : t;  // the last one may stand in for one that is missing
      PrefetchNextTile<kDim * kBytesOf<kDtype> / 64>(rows, first + t + r);
      IntegerRow<kDtype, kDim, kWide>(shape, rows.data + (first + token) * rows.token_bytes, kWide ? wide->row[token] : nullptr,
                                      gain[token], y + r * kDim / 32);
      row_codes[r] = codes + (t + r) * kDim;
    }
    TransformRows<kDim, kRows>(y);
    QuantizeRows<kDim, kRows, kBits>(y, table, row_codes, products);
    for (uint32_t r = 0; r < kRows; ++r) {
      with_images[t + r] = products[r].with_images;
      images_squared[t + r] = products[r].images_squared;
    }
  }
  for (uint32_t t = count; t < kBatch; ++t) with_images[t] = images_squared[t] = _mm512_setzero_si512();
  for (uint32_t i = count * kDim; i < kBatch * kDim; i += 64) _mm512_store_si512(codes + i, _mm512_setzero_si512());
  StoreBatchScales<kKeys>(shape, norm, SumEachInteger(with_images), SumEachInteger(images_squared), first, tile);
}

template <Dtype kDtype, int kDim, int kBits, bool kKeys>
bool EncodeTile(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  alignas(64) uint8_t codes[kTileTokens * kDim];
  const CodeRegisters table(kCodeTable<kBits>);
  for (uint32_t i = 0; i < kTileTokens; i += 16) _mm512_store_si512(tile.exponent + i, _mm512_setzero_si512());
  for (uint32_t first = 0; first < kTileTokens; first += kBatch) {
    const uint32_t count = rows.tokens <= first ? 0 : rows.tokens - first < kBatch ? rows.tokens - first : kBatch;
    const auto present = static_cast<__mmask16>((1u << count) - 1);
    const __m512 squared = SquaredNorms<kDtype, kDim, false>(shape, rows, first, count, nullptr, nullptr);
    uint8_t* const batch_codes = codes + first * kDim;
    if ((PlainNorms(squared) | static_cast<__mmask16>(~present)) == 0xFFFF) {
      QuantizeBatch<kDtype, kDim, kBits, kKeys, false>(shape, rows, first, count, squared, nullptr, table, batch_codes, tile);
      continue;
    }
    WideRows<kDim> wide;
    const __m512 wide_squared = SquaredNorms<kDtype, kDim, true>(shape, rows, first, count, &wide, tile.exponent + first);
    // A number that is not finite leaves none of its token finite, whose binade does not matter then.
    if (_mm512_cmp_ps_mask(wide_squared, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ) != 0xFFFF) return false;
    QuantizeBatch<kDtype, kDim, kBits, kKeys, true>(shape, rows, first, count, wide_squared, &wide, table, batch_codes, tile);
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

}  // namespace

void ScaleStepsAvx512(const ScaleTables& tables, const TurboEncodedTile& tile, int32_t* steps) {
  const __m512i one = _mm512_set1_epi32(1), last = _mm512_set1_epi32(63);
  __m512i below[4], thresholds[4];
  for (int i = 0; i < 4; ++i) {
    below[i] = _mm512_load_si512(tables.below + 16 * i);
    thresholds[i] = _mm512_load_si512(tables.thresholds + 16 * i);
  }
  const auto look_up = [](const __m512i* table, __m512i index) __attribute__((always_inline)) {
    const __m512i low = _mm512_permutex2var_epi32(table[0], index, table[1]);
    const __m512i high = _mm512_permutex2var_epi32(table[2], index, table[3]);
    return _mm512_mask_mov_epi32(low, _mm512_test_epi32_mask(index, _mm512_set1_epi32(32)), high);
  };
  for (int i = 0; i < 64; i += 16) {
    const __m512 scale = _mm512_load_ps(tile.mantissa + i);
    const __mmask16 nonzero = _mm512_cmp_ps_mask(scale, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 m = _mm512_getmant_ps(scale, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
    const __m512i binade = _mm512_cvtps_epi32(_mm512_getexp_ps(scale));
    // Thresholds up to the 1/64 below m are counted by a table; between that and m are two at most.
    const __m512i interval = _mm512_and_si512(_mm512_srli_epi32(_mm512_castps_si512(m), 17), last);
    __m512i step = look_up(below, interval);
    for (int more = 0; more < 2; ++more) {
      const __m512 next = _mm512_castsi512_ps(look_up(thresholds, _mm512_min_epi32(step, last)));
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
