// Rows of codes, one byte each, into the bit planes of codec/code_order.h. For sources compiled with AVX-512 and VBMI.
#ifndef POLARKV_KERNELS_CPU_TURBO_PACK_AVX512_H_
#define POLARKV_KERNELS_CPU_TURBO_PACK_AVX512_H_

#include "kernels/cpu/avx512_rows.h"
#include "kernels/cpu/turbo_encode.h"

namespace polarkv::cpu {
namespace {

// Four rows of 64 two-bit numbers, `shift` places up in their bytes -> their words, [chunk][row]. `weights` says which of
// two neighbouring codes goes into the upper bits.
[[gnu::always_inline]] inline __m512i KeyWords(const __m512i rows[4], __m512i weights, int shift) {
  // Byte b of a chunk's word holds codes 12-4b .. 15-4b, those of dword 3-b; byte r of that dword is row r's.
  alignas(64) static constexpr uint8_t kOrder[64] = {
      12, 8,  4,  0,  13, 9,  5,  1,  14, 10, 6,  2,  15, 11, 7,  3,  28, 24, 20, 16, 29, 25, 21, 17, 30, 26, 22, 18,
      31, 27, 23, 19, 44, 40, 36, 32, 45, 41, 37, 33, 46, 42, 38, 34, 47, 43, 39, 35, 60, 56, 52, 48, 61, 57, 53, 49,
      62, 58, 54, 50, 63, 59, 55, 51};
  const __m512i pairs = _mm512_set1_epi32(0x00010010);  // first two codes 16 times the last two
  __m512i quads[4];
  for (int r = 0; r < 4; ++r) {
    quads[r] = _mm512_madd_epi16(_mm512_maddubs_epi16(rows[r], weights), pairs);
    const int to = 8 * r - shift;
    quads[r] = to < 0 ? _mm512_srli_epi32(quads[r], static_cast<unsigned>(-to))
                      : _mm512_slli_epi32(quads[r], static_cast<unsigned>(to));
  }
  const __m512i all = _mm512_or_si512(_mm512_ternarylogic_epi32(quads[0], quads[1], quads[2], 0xFE), quads[3]);
  return _mm512_permutexvar_epi8(_mm512_load_si512(kOrder), all);
}

// Token of row `row` in quad `quad` of a line of keys, for lines of vector e3 and half T1 of the tile's quarters.
[[gnu::always_inline]] inline uint32_t LineToken(uint32_t vector, uint32_t half, uint32_t quad, uint32_t row) {
  return 16 * (2 * half + (quad >> 1)) + 8 * vector + 4 * (row >> 1) + 2 * (quad & 1) + (row & 1);
}

// Stores four quads' words, [chunk of 64 coordinates][row], as one line for each chunk.
template <int kDim>
[[gnu::always_inline]] inline void StoreKeyLines(const __m512i words[4], uint32_t first_chunk, uint32_t group_bytes, uint32_t line, uint8_t* plane) {
  constexpr uint32_t kQuarter = kDim / 64;
  __m512i lines[4];
  TransposeLanes(words, lines);
  for (uint32_t c = 0; c < 4; ++c) {
    const uint32_t chunk = first_chunk + c;
    _mm512_storeu_si512(plane + chunk % kQuarter * group_bytes + 64 * (line + chunk / kQuarter), lines[c]);
  }
}

// codes: [64][kDim], as of four bits.
template <int kDim, int kBits>
void PackKeys(const uint8_t* codes, TurboEncodedTile& tile) {
  const __m512i upper_first = _mm512_set1_epi16(0x0104), lower_first = _mm512_set1_epi16(0x0401);
  const __m512i ones = _mm512_set1_epi8(1), low_two = _mm512_set1_epi8(3), crumb = _mm512_set1_epi8(12);
  for (uint32_t half = 0; half < 2; ++half) {
    for (uint32_t part = 0; part < kDim / 64; ++part) {
      __m512i words[2][4], refine1[4], refine0[4];
      for (uint32_t quad = 0; quad < 4; ++quad) {
        __m512i row[2][4];
        for (uint32_t vector = 0; vector < 2; ++vector) {
          for (uint32_t r = 0; r < 4; ++r) {
            row[vector][r] = _mm512_load_si512(codes + LineToken(vector, half, quad, r) * kDim + 64 * part);
          }
        }
        for (uint32_t vector = 0; vector < 2; ++vector) {
          __m512i crumbs[4];
          for (uint32_t r = 0; r < 4; ++r) crumbs[r] = _mm512_and_si512(row[vector][r], crumb);
          words[vector][quad] = KeyWords(crumbs, upper_first, 2);
        }
        if constexpr (kBits >= 3) {
          __m512i bits[4];
          for (uint32_t r = 0; r < 4; ++r) {
            bits[r] = _mm512_and_si512(Select(ones, _mm512_srli_epi16(row[0][r], 1), row[1][r]), low_two);
          }
          refine1[quad] = KeyWords(bits, lower_first, 0);
        }
        if constexpr (kBits == 4) {
          __m512i bits[4];
          for (uint32_t r = 0; r < 4; ++r) {
            bits[r] = _mm512_and_si512(Select(ones, row[1][r], _mm512_add_epi8(row[0][r], row[0][r])), low_two);
          }
          refine0[quad] = KeyWords(bits, lower_first, 0);
        }
      }
      for (uint32_t vector = 0; vector < 2; ++vector) {
        StoreKeyLines<kDim>(words[vector], 4 * part, 1024, 8 * vector + 4 * half, tile.crumbs);
      }
      if constexpr (kBits >= 3) StoreKeyLines<kDim>(refine1, 4 * part, 512, 4 * half, tile.refine1);
      if constexpr (kBits == 4) StoreKeyLines<kDim>(refine0, 4 * part, 512, 4 * half, tile.refine0);
    }
  }
}

// Bytes 0..3 of words -> the words, 16 rows a line.
[[gnu::always_inline]] inline void StoreValueLines(const __m512i bytes[4], uint8_t* const lines[4]) {
  const __m512i low01 = _mm512_unpacklo_epi8(bytes[0], bytes[1]), high01 = _mm512_unpackhi_epi8(bytes[0], bytes[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(bytes[2], bytes[3]), high23 = _mm512_unpackhi_epi8(bytes[2], bytes[3]);
  const __m512i words[4] = {_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
                            _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
  __m512i out[4];
  TransposeLanes(words, out);
  for (int i = 0; i < 4; ++i) _mm512_storeu_si512(lines[i], out[i]);
}

// Byte k of the words of crumbs: four tokens' codes, the first in the lowest bits.
[[gnu::always_inline]] inline __m512i CrumbByte(const __m512i code[4]) {
  const __m512i low = SelectBytes(0x03, _mm512_srli_epi16(code[0], 2), code[1]);
  const __m512i high = SelectBytes(0x30, _mm512_slli_epi16(code[2], 2), _mm512_slli_epi16(code[3], 4));
  return SelectBytes(0x0F, low, high);
}

// Bit kBit of four tokens' codes where the first refinement plane has those of vector A.
template <int kBit>
[[gnu::always_inline]] inline __m512i RefineByte(const __m512i code[4]) {
  const __m512i second = kBit == 1 ? _mm512_srli_epi16(code[1], 1) : code[1];
  const __m512i low = SelectBytes(0x04, _mm512_slli_epi16(code[0], 2 - kBit), second);
  const __m512i high = SelectBytes(0x40, _mm512_slli_epi16(code[2], 6 - kBit), _mm512_slli_epi16(code[3], 4 - kBit));
  return _mm512_and_si512(SelectBytes(0x0F, low, high), _mm512_set1_epi8(0x55));
}

// The halves of two quarters' bytes, A of `first` and B of `second` places up.
[[gnu::always_inline]] inline __m512i MergeHalves(__m512i quarter0, __m512i quarter1, bool second_plane) {
  const __m512i a = _mm512_shuffle_i64x2(quarter0, quarter1, 0x44);
  const __m512i b = _mm512_shuffle_i64x2(quarter0, quarter1, 0xEE);
  return second_plane ? _mm512_or_si512(_mm512_add_epi8(a, a), b) : _mm512_or_si512(a, _mm512_add_epi8(b, b));
}

template <int kDim, int kBits>
void PackValues(const uint8_t* codes, TurboEncodedTile& tile) {
  for (uint32_t group = 0; group < kDim / 64; ++group) {
    for (uint32_t quarter = 0; quarter < 4; quarter += 2) {
      __m512i refine1[2][4], refine0[2][4];
      for (uint32_t q = 0; q < 2; ++q) {
        __m512i crumbs[4];
        for (uint32_t k = 0; k < 4; ++k) {
          __m512i code[4];
          for (uint32_t i = 0; i < 4; ++i) {
            code[i] = _mm512_load_si512(codes + (16 * (quarter + q) + 15 - 4 * k - i) * kDim + 64 * group);
          }
          crumbs[k] = CrumbByte(code);
          if constexpr (kBits >= 3) refine1[q][k] = RefineByte<1>(code);
          if constexpr (kBits == 4) refine0[q][k] = RefineByte<0>(code);
        }
        uint8_t* base = tile.crumbs + 1024 * group + 64 * (quarter + q);
        uint8_t* const lines[4] = {base, base + 256, base + 512, base + 768};
        StoreValueLines(crumbs, lines);
      }
      const auto store = [&](const __m512i bytes[2][4], uint8_t* plane, bool second_plane) {
        __m512i merged[4];
        for (int k = 0; k < 4; ++k) merged[k] = MergeHalves(bytes[0][k], bytes[1][k], second_plane);
        uint8_t* base = plane + 512 * group + 64 * quarter;
        uint8_t* const lines[4] = {base, base + 256, base + 64, base + 320};
        StoreValueLines(merged, lines);
      };
      if constexpr (kBits >= 3) store(refine1, tile.refine1, false);
      if constexpr (kBits == 4) store(refine0, tile.refine0, true);
    }
  }
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_PACK_AVX512_H_
