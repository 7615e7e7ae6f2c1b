// Compiled for AVX-512 with VBMI and VNNI; called only where the machine has them (see turbo_attention.h on ODR).
//
// Sixteen rings lie side by side in lanes. The search is that of codec/trellis_search.cc: for every context in which a ring may
// begin the cheapest way to each context, extended code by code; costs, ties and symbols are the same to the bit.
#include "kernels/cpu/trellis_encode.h"

#include <immintrin.h>

#include "codec/block_format.h"
#include "codec/lane_vectors.h"
#include "codec/trellis_code.h"
#include "kernels/cpu/rotate_rows_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kLanes = 16;

// What the codes of sixteen rings should stand for, as rotated integers; and where any code will do.
template <uint32_t kCodes>
struct Targets {
  __m512i y[kCodes];
  __mmask16 counted[kCodes];
};

// Symbols as TrellisRings (codec/trellis_search.h) has them.
struct Rings {
  __m512i upper, lower;
};

template <uint32_t kBits>
struct Ways {
  static constexpr uint32_t kContexts = kTrellisWindows >> kBits;
  __m512 cost[kContexts];
  __m512i upper[kContexts];
  __m512i lower[kContexts];
};

// The cheapest of kCount windows that end in `context`, from number `first` on: their costs, and which it is, modulo 4.
template <uint32_t kBits, uint32_t kCount>
[[gnu::always_inline]] inline void Cheapest(const __m512* error, const Ways<kBits>& from, uint32_t first, uint32_t context,
                                            __m512& best, __m512i& which) {
  constexpr uint32_t kContexts = Ways<kBits>::kContexts;
  for (uint32_t h = first; h < first + kCount; ++h) {
    const uint32_t window = h * kContexts + context;
    const __m512 cost = _mm512_fmadd_ps(error[window], error[window], from.cost[window >> kBits]);
    if (h == first) {
      best = cost;
      which = _mm512_setzero_si512();
      continue;
    }
    const __mmask16 better = _mm512_cmp_ps_mask(cost, best, _CMP_LT_OQ);
    best = _mm512_min_ps(cost, best);
    which = _mm512_mask_mov_epi32(which, better, _mm512_set1_epi32(static_cast<int>(h % 4)));
  }
}

template <uint32_t kBits>
[[gnu::always_inline]] inline void Extend(const __m512* error, const Ways<kBits>& from, Ways<kBits>& to) {
  constexpr uint32_t kContexts = Ways<kBits>::kContexts;
#pragma GCC unroll 8
  for (uint32_t context = 0; context < kContexts; ++context) {
    const __m512i symbol = _mm512_set1_epi32(static_cast<int>(context));
    if constexpr (kBits == 3) {
      // Windows come from context 0 by the lower four, from context 1 by the upper four.
      __m512 low, high;
      __m512i low_which, high_which;
      Cheapest<kBits, 4>(error, from, 0, context, low, low_which);
      Cheapest<kBits, 4>(error, from, 4, context, high, high_which);
      const __mmask16 better = _mm512_cmp_ps_mask(high, low, _CMP_LT_OQ);
      to.cost[context] = _mm512_min_ps(high, low);
      const __m512i upper = _mm512_mask_mov_epi32(from.upper[0], better, from.upper[1]);
      const __m512i lower = _mm512_mask_mov_epi32(from.lower[0], better, from.lower[1]);
      to.upper[context] = _mm512_or_si512(_mm512_slli_epi32(upper, 2), _mm512_mask_mov_epi32(low_which, better, high_which));
      to.lower[context] = _mm512_or_si512(_mm512_add_epi32(lower, lower), symbol);
    } else {
      constexpr uint32_t kCount = 1u << kBits;
      __m512 best{};
      __m512i upper{};
      for (uint32_t h = 0; h < kCount; ++h) {
        const uint32_t window = h * kContexts + context, before = window >> kBits;
        const __m512 cost = _mm512_fmadd_ps(error[window], error[window], from.cost[before]);
        const __mmask16 better = h == 0 ? 0xFFFF : _mm512_cmp_ps_mask(cost, best, _CMP_LT_OQ);
        best = h == 0 ? cost : _mm512_min_ps(cost, best);
        upper = _mm512_mask_mov_epi32(upper, better, from.upper[before]);
      }
      to.cost[context] = best;
      const __m512i own = _mm512_and_si512(symbol, _mm512_set1_epi32(kCount - 1));
      to.upper[context] = _mm512_or_si512(_mm512_slli_epi32(upper, kBits), own);
    }
  }
}

template <uint32_t kBits, uint32_t kCodes>
Rings Search(const float* table, const Targets<kCodes>& targets) {
  constexpr uint32_t kContexts = Ways<kBits>::kContexts;
  Ways<kBits> ways[2][kContexts];
  for (uint32_t start = 0; start < kContexts; ++start) {
    for (uint32_t context = 0; context < kContexts; ++context) {
      ways[0][start].cost[context] = _mm512_set1_ps(context == start ? 0 : __builtin_inff());
      ways[0][start].upper[context] = ways[0][start].lower[context] = _mm512_setzero_si512();
    }
  }
  for (uint32_t i = 0; i < kCodes; ++i) {
    const __m512 z = _mm512_mul_ps(_mm512_cvtepi32_ps(targets.y[i]), _mm512_set1_ps(kToUnitVariance));
    __m512 error[kTrellisWindows];
    for (uint32_t w = 0; w < kTrellisWindows; ++w) error[w] = _mm512_maskz_sub_ps(targets.counted[i], z, _mm512_set1_ps(table[w]));
    for (uint32_t start = 0; start < kContexts; ++start) Extend<kBits>(error, ways[i % 2][start], ways[(i + 1) % 2][start]);
  }
  const Ways<kBits>* last = ways[kCodes % 2];
  Rings rings = {last[0].upper[0], last[0].lower[0]};
  __m512 best = last[0].cost[0];
  for (uint32_t start = 1; start < kContexts; ++start) {
    const __mmask16 better = _mm512_cmp_ps_mask(last[start].cost[start], best, _CMP_LT_OQ);
    best = _mm512_min_ps(last[start].cost[start], best);
    rings.upper = _mm512_mask_mov_epi32(rings.upper, better, last[start].upper[start]);
    rings.lower = _mm512_mask_mov_epi32(rings.lower, better, last[start].lower[start]);
  }
  return rings;
}

// Windows of code i of the rings, in the lower bits of lanes; what is above them has no meaning.
template <uint32_t kBits>
[[gnu::always_inline]] inline __m512i Windows(const Rings& rings, uint32_t i) {
  const auto rotated = [](__m512i word, uint32_t places) __attribute__((always_inline)) {
    return _mm512_rorv_epi32(word, _mm512_set1_epi32(static_cast<int>(places)));
  };
  if constexpr (kBits == 1) return rotated(rings.upper, 31 - i);
  if constexpr (kBits == 2) return rotated(rings.upper, 30 - 2 * i);
  const __m512i crumb = _mm512_and_si512(_mm512_slli_epi32(rotated(rings.upper, 30 - 2 * i), 1), _mm512_set1_epi32(6));
  const __m512i own = _mm512_and_si512(rotated(rings.lower, 15 - i), _mm512_set1_epi32(1));
  const __m512i before = _mm512_and_si512(_mm512_slli_epi32(rotated(rings.lower, 15 - (i + 15) % 16), 3), _mm512_set1_epi32(8));
  return _mm512_ternarylogic_epi32(crumb, own, before, 0xFE);
}

// Sums of y * C and of C * C of the tokens in lanes, or of one token.
struct ImageSums {
  __m512i with_images, squared;
  [[gnu::always_inline]] inline void Add(__m512i y, __m512i window, __m512i images) {
    // Images are in the lower words, beside 0.
    const __m512i image = _mm512_permutexvar_epi32(window, images);
    with_images = _mm512_dpwssd_epi32(with_images, y, image);
    squared = _mm512_dpwssd_epi32(squared, image, image);
  }
};

struct EncoderTables {
  alignas(64) float value[kTrellisWindows];
  alignas(64) uint32_t image[kTrellisWindows];  // in 16 bits
};
template <uint32_t kBits>
inline constexpr EncoderTables kTables = [] {
  constexpr const TrellisCodebook& kBook = kBits == 1 ? kTrellis1 : kBits == 2 ? kTrellis2 : kTrellis3;
  EncoderTables tables{};
  for (uint32_t w = 0; w < kTrellisWindows; ++w) {
    tables.value[w] = static_cast<float>(kBook.image[w]) * kBook.unit;
    tables.image[w] = static_cast<uint16_t>(kBook.image[w]);
  }
  return tables;
}();

// Bits n = 15 - c of `low` where the word that two atoms share has those of code c of the symbols (TrellisLowShift).
[[gnu::always_inline]] inline uint32_t SpreadLowBits(uint32_t vector, uint32_t low) {
  if (vector == 1) low = low >> 1 | (low & 1) << 15;
  // Two bits of every four.
  uint64_t x = low;
  x = (x | x << 8) & 0x00FF00FF;
  x = (x | x << 4) & 0x0F0F0F0F;
  x = (x | x << 2) & 0x33333333;
  return static_cast<uint32_t>(vector == 0 ? x << 2 : x);
}

template <uint32_t kBits>
[[gnu::always_inline]] inline void StoreRings(const Rings& rings, const TrellisPlace* places, const uint32_t* rows, uint32_t head_dim,
                                              uint8_t* payload) {
  alignas(64) uint32_t upper[kLanes], lower[kLanes];
  _mm512_store_si512(upper, rings.upper);
  _mm512_store_si512(lower, rings.lower);
  for (uint32_t l = 0; l < kLanes; ++l) {
    const TrellisPlace& place = places[rows[l]];
    __builtin_memcpy(payload + 4 * (kBits == 1 ? place.refine_word : place.base_word), &upper[l], 4);
    if constexpr (kBits == 3) {
      uint8_t* low = payload + 16 * head_dim + 4 * place.refine_word;
      uint32_t word;
      __builtin_memcpy(&word, low, 4);
      word |= SpreadLowBits(place.vector, lower[l]);
      __builtin_memcpy(low, &word, 4);
    }
  }
}

// A tile's rotated tokens: [64][kDim], with room for a look beyond the last.
template <int kDim>
struct TileIntegers {
  alignas(64) int16_t y[kTileTokens * kDim + 2];
  alignas(64) float norm[kTileTokens];
};

// For coordinate i of 32 its word in two transformed registers; [bit 5 of the coordinate].
struct TransformedOrder {
  alignas(64) uint16_t source[2][32];
};
constexpr TransformedOrder kTransformedOrder = [] {
  TransformedOrder order{};
  for (uint32_t i = 0; i < 64; ++i) {
    const auto bit = [i](uint32_t b) { return i >> b & 1; };
    order.source[i / 32][i % 32] =
        static_cast<uint16_t>(bit(3) << 5 | bit(4) << 4 | bit(0) << 3 | bit(5) << 2 | bit(2) << 1 | bit(1));
  }
  return order;
}();

template <Dtype kDtype, int kDim, bool kWide>
[[gnu::always_inline]] inline void RotateBatch(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t first,
                                               uint32_t count, __m512 squared, const WideRows<kDim>* wide, TileIntegers<kDim>& out) {
  const __m512 norm = _mm512_sqrt_ps(squared);
  const __mmask16 nonzero = _mm512_cmp_ps_mask(norm, _mm512_setzero_ps(), _CMP_GT_OQ);
  alignas(64) float gain[kBatch];
  _mm512_store_ps(gain, _mm512_maskz_div_ps(nonzero, _mm512_set1_ps(shape.gain), norm));
  _mm512_store_ps(out.norm + first, norm);
  for (uint32_t t = 0; t < count; ++t) {
    PrefetchNextTile<kDim * kBytesOf<kDtype> / 64>(rows, first + t);
    __m512i x[kDim / 32];
    IntegerRow<kDtype, kDim, kWide>(shape, rows.data + (first + t) * rows.token_bytes, kWide ? wide->row[t] : nullptr, gain[t], x);
    TransformRows<kDim, 1>(x);
    for (int i = 0; i < kDim / 32; ++i) {
      const __m512i order = _mm512_load_si512(kTransformedOrder.source[i % 2]);
      _mm512_store_si512(out.y + (first + t) * kDim + 32 * i, _mm512_permutex2var_epi16(x[i & ~1], order, x[i | 1]));
    }
  }
}

// False if a number is not finite.
template <Dtype kDtype, int kDim>
bool RotateTile(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TileIntegers<kDim>& out, TurboEncodedTile& tile) {
  for (uint32_t first = 0; first < kTileTokens; first += kBatch) {
    const uint32_t count = rows.tokens <= first ? 0 : rows.tokens - first < kBatch ? rows.tokens - first : kBatch;
    const auto present = static_cast<__mmask16>((1u << count) - 1);
    _mm512_store_si512(tile.exponent + first, _mm512_setzero_si512());
    for (uint32_t i = count * kDim; i < kBatch * kDim; i += 32) _mm512_storeu_si512(out.y + first * kDim + i, _mm512_setzero_si512());
    const __m512 squared = SquaredNorms<kDtype, kDim, false>(shape, rows, first, count, nullptr, nullptr);
    if ((PlainNorms(squared) | static_cast<__mmask16>(~present)) == 0xFFFF) {
      RotateBatch<kDtype, kDim, false>(shape, rows, first, count, squared, nullptr, out);
      continue;
    }
    WideRows<kDim> wide;
    const __m512 wide_squared = SquaredNorms<kDtype, kDim, true>(shape, rows, first, count, &wide, tile.exponent + first);
    if (_mm512_cmp_ps_mask(wide_squared, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ) != 0xFFFF) return false;
    RotateBatch<kDtype, kDim, true>(shape, rows, first, count, wide_squared, &wide, out);
  }
  return true;
}

// Rings of 16 tokens' codes of 16 coordinates; of one bit: of 16 pairs of tokens, 8 apart.
template <int kDim, uint32_t kBits>
void EncodeKeys(const TurboEncoderShape& shape, const TileIntegers<kDim>& in, uint64_t counted, TurboEncodedTile& tile) {
  constexpr uint32_t kHalves = kBits == 1 ? 2 : 1, kCodes = 16 * kHalves;
  const EncoderTables& tables = kTables<kBits>;
  const __m512i images = _mm512_load_si512(tables.image);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (uint32_t block = 0; block < kTileTokens; block += kLanes * kHalves) {
    // Of one bit: tokens 0 to 7 and 16 to 23 of the block's 32, and those 8 further on.
    const __m512i token = kBits == 1 ? _mm512_add_epi32(lanes, _mm512_and_si512(lanes, _mm512_set1_epi32(8))) : lanes;
    const __m512i index = _mm512_mullo_epi32(_mm512_add_epi32(token, _mm512_set1_epi32(static_cast<int>(block))), _mm512_set1_epi32(kDim));
    alignas(64) uint32_t rows[kLanes];
    _mm512_store_si512(rows, _mm512_add_epi32(token, _mm512_set1_epi32(static_cast<int>(block))));
    __mmask16 counts[kHalves] = {};
    for (uint32_t half = 0; half < kHalves; ++half) {
      for (uint32_t l = 0; l < kLanes; ++l) {
        counts[half] = static_cast<__mmask16>(counts[half] | (counted >> (rows[l] + 8 * half) & 1) << l);
      }
    }
    ImageSums sums[kHalves];
    for (ImageSums& sum : sums) sum = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (uint32_t chunk = 0; chunk < kDim / 16; ++chunk) {
      Targets<kCodes> targets;
      for (uint32_t i = 0; i < kCodes; ++i) {
        const int16_t* y = in.y + i / 16 * 8 * kDim + 16 * chunk + i % 16;
        const __m512i pair = _mm512_i32gather_epi32(index, y, 2);
        targets.y[i] = _mm512_srai_epi32(_mm512_slli_epi32(pair, 16), 16);
        targets.counted[i] = counts[i / 16];
      }
      const Rings rings = Search<kBits, kCodes>(tables.value, targets);
      StoreRings<kBits>(rings, shape.places + chunk * kTileTokens, rows, kDim, tile.crumbs);
      for (uint32_t i = 0; i < kCodes; ++i) sums[i / 16].Add(targets.y[i], Windows<kBits>(rings, i), images);
    }
    alignas(64) int32_t with_images[kHalves][kLanes], squared[kHalves][kLanes];
    for (uint32_t half = 0; half < kHalves; ++half) {
      _mm512_store_si512(with_images[half], sums[half].with_images);
      _mm512_store_si512(squared[half], sums[half].squared);
    }
    for (uint32_t first = block; first < block + kLanes * kHalves; first += kLanes) {
      __m512i product = sums[0].with_images, square = sums[0].squared;
      if constexpr (kBits == 1) {
        // Tokens in their order: 8 of the first half, the 8 beyond them of the second.
        const uint32_t from = (first - block) / 2;
        alignas(64) int32_t a[kLanes], b[kLanes];
        for (uint32_t l = 0; l < kLanes; ++l) {
          a[l] = with_images[l / 8][from + l % 8];
          b[l] = squared[l / 8][from + l % 8];
        }
        product = _mm512_load_si512(a);
        square = _mm512_load_si512(b);
      }
      StoreBatchScales<true>(shape, _mm512_load_ps(in.norm + first), product, square, first, tile);
    }
  }
}

// Rings of 16 coordinates' codes of 16 tokens; of one bit: of 16 pairs of coordinates, 32 apart.
template <int kDim, uint32_t kBits>
void EncodeValues(const TurboEncoderShape& shape, const TileIntegers<kDim>& in, uint64_t counted, TurboEncodedTile& tile) {
  constexpr uint32_t kHalves = kBits == 1 ? 2 : 1, kCodes = 16 * kHalves;
  const EncoderTables& tables = kTables<kBits>;
  const __m512i images = _mm512_load_si512(tables.image);
  for (uint32_t quarter = 0; quarter < kTileTokens / 16; ++quarter) {
    ImageSums sums[16];
    for (ImageSums& sum : sums) sum = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (uint32_t group = 0; group < kDim / (kLanes * kHalves); ++group) {
      // Of one bit: groups 0 and 1 of each 64 coordinates are the first 32.
      const uint32_t first = kBits == 1 ? group / 2 * 64 + group % 2 * 16 : group * kLanes;
      uint32_t rows[kLanes];
      for (uint32_t l = 0; l < kLanes; ++l) rows[l] = first + l;
      Targets<kCodes> targets;
      for (uint32_t i = 0; i < kCodes; ++i) {
        const uint32_t token = 16 * quarter + i % 16;
        const int16_t* y = in.y + token * kDim + first + i / 16 * 32;
        targets.y[i] = _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(y)));
        targets.counted[i] = (counted >> token & 1) != 0 ? 0xFFFF : 0;
      }
      const Rings rings = Search<kBits, kCodes>(tables.value, targets);
      StoreRings<kBits>(rings, shape.places + quarter * kDim, rows, kDim, tile.crumbs);
      for (uint32_t i = 0; i < kCodes; ++i) sums[i % 16].Add(targets.y[i], Windows<kBits>(rings, i), images);
    }
    __m512i with_images[16], squared[16];
    for (uint32_t t = 0; t < 16; ++t) {
      with_images[t] = sums[t].with_images;
      squared[t] = sums[t].squared;
    }
    StoreBatchScales<false>(shape, _mm512_load_ps(in.norm + 16 * quarter), SumEachInteger(with_images), SumEachInteger(squared),
                            16 * quarter, tile);
  }
}

template <int kDim, uint32_t kBits>
void EncodeSide(const TurboEncoderShape& shape, const TileIntegers<kDim>& in, uint64_t counted, TurboEncodedTile& tile) {
  shape.keys ? EncodeKeys<kDim, kBits>(shape, in, counted, tile) : EncodeValues<kDim, kBits>(shape, in, counted, tile);
}

template <int kDim>
bool EncodeTile(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  TileIntegers<kDim> in;
  const auto dtype = static_cast<Dtype>(shape.dtype);
  const bool finite = dtype == Dtype::kF32   ? RotateTile<Dtype::kF32, kDim>(shape, rows, in, tile)
                      : dtype == Dtype::kF16 ? RotateTile<Dtype::kF16, kDim>(shape, rows, in, tile)
                                             : RotateTile<Dtype::kBF16, kDim>(shape, rows, in, tile);
  if (!finite) return false;
  const uint64_t present = rows.tokens == kTileTokens ? ~uint64_t{0} : (uint64_t{1} << rows.tokens) - 1;
  const uint64_t counted = rows.counted & present;
  if (shape.bits == 3) __builtin_memset(tile.crumbs + 16 * kDim, 0, 8 * kDim);
  if (shape.bits == 1) EncodeSide<kDim, 1>(shape, in, counted, tile);
  if (shape.bits == 2) EncodeSide<kDim, 2>(shape, in, counted, tile);
  if (shape.bits == 3) EncodeSide<kDim, 3>(shape, in, counted, tile);
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    if ((counted >> t & 1) == 0) tile.mantissa[t] = tile.error[t] = 0;
  }
  return true;
}

}  // namespace

bool TrellisEncodeAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile) {
  if (shape.head_dim == 64) return EncodeTile<64>(shape, rows, tile);
  if (shape.head_dim == 128) return EncodeTile<128>(shape, rows, tile);
  if (shape.head_dim == 192) return EncodeTile<192>(shape, rows, tile);
  return EncodeTile<256>(shape, rows, tile);
}

}  // namespace polarkv::cpu
