// One side of one tile, line by line: 64 bytes of every plane that its codes have become eight vectors of 16 rows x 4 images
// (codec/code_order.h). For sources compiled with AVX-512, VBMI.
//
// A *line* is 16 words of a vector A, the 16 in the same place of vector B, and their refinement words. A full group of 64
// coordinates has 8; a last group of 16 W has 2 W.
#ifndef POLARKV_KERNELS_CPU_CODE_LINES_AVX512_H_
#define POLARKV_KERNELS_CPU_CODE_LINES_AVX512_H_

#include "kernels/cpu/turbo_words_avx512.h"

namespace polarkv::cpu {
namespace {

inline constexpr uint32_t kMaxCodePlanes = 4;

// Where a side's planes begin in one tile: words of crumbs, then planes of refinement words. turbo1, trellis1: one of those alone.
struct CodePlanesAt {
  const uint8_t* plane[kMaxCodePlanes];
};

// One side of one tile.
struct TileSide {
  uint32_t head_dim;
  const TurboTable* table;
  CodePlanesAt at, ahead;  // `ahead`: what to prefetch meanwhile
};

// Where a line is in planes of crumbs (A; B is `b_after` later) and of refinement words.
struct LinePlace {
  uint32_t crumbs, b_after, refine;
};

[[gnu::always_inline]] inline LinePlace FullLine(uint32_t group, uint32_t line) {
  const uint32_t number = group * kLinesPerVector + line;
  return {(group * 2 * kLinesPerVector + line) * kLineBytes, kLinesPerVector * kLineBytes, number * kLineBytes};
}
[[gnu::always_inline]] inline LinePlace TailLine(uint32_t groups, uint32_t width, uint32_t line) {
  const uint32_t number = groups * kLinesPerVector + line;
  return {(groups * 2 * kLinesPerVector + line) * kLineBytes, 2 * width * kLineBytes, number * kLineBytes};
}
// Words a lane of the last group: 0, 1 or 2.
[[gnu::always_inline]] inline uint32_t TailWidth(uint32_t head_dim) { return head_dim / 16 % 4; }

struct LineWords {
  __m512i u[5];  // nibble words; turbo5: and the fifth bits
};

// Bits under `mask` of `a`, others of `b`.
template <uint32_t kMask>
[[gnu::always_inline]] inline __m512i Mix(__m512i a, __m512i b) {
  return Select(_mm512_set1_epi32(static_cast<int>(kMask)), a, b);
}

template <CodeKind kKind>
struct CodeLines {
  static constexpr bool kHasCrumbs = kKind != CodeKind::kTurbo1 && kKind != CodeKind::kTrellis1;
  static constexpr uint32_t kRefinePlanes = kKind == CodeKind::kTurbo5                                   ? 3
                                            : kKind == CodeKind::kTurbo4                                 ? 2
                                            : kKind == CodeKind::kTurbo2 || kKind == CodeKind::kTrellis2 ? 0
                                                                                                         : 1;

  __m512i table[kNibbleWords];
  CodePlanesAt at, ahead;

  [[gnu::always_inline]] explicit inline CodeLines(const TileSide& side) : at(side.at), ahead(side.ahead) {
    LoadTable(*side.table, table);
  }

  [[gnu::always_inline]] inline LineWords Words(const LinePlace& place) const {
    Prefetch(place);
    LineWords out;
    __m512i* u = out.u;
    if constexpr (kKind == CodeKind::kTurbo1) {
      u[0] = u[1] = u[2] = u[3] = Load(at.plane[0] + place.refine);
    } else if constexpr (kKind == CodeKind::kTrellis1) {
      u[0] = Load(at.plane[0] + place.refine);
      u[1] = _mm512_ror_epi32(u[0], 1);
      u[2] = _mm512_ror_epi32(u[0], 2);
      u[3] = _mm512_ror_epi32(u[0], 3);
    } else {
      const __m512i a = Load(at.plane[0] + place.crumbs), b = Load(at.plane[0] + place.crumbs + place.b_after);
      FromCrumbs(a, b, place, u);
    }
    return out;
  }

  // Four images of each row: word of the nibble words, low or high nibbles.
  template <int kWord, int kHigh>
  [[gnu::always_inline]] inline __m512i Bytes(const LineWords& words) const {
    const __m512i* u = words.u;
    if constexpr (kKind == CodeKind::kTrellis1) {
      // Windows of atoms A are in the words' upper halves, of B in the lower ones; words are rotated by 15 - the first code.
      constexpr int kRotation = 2 * kHigh + kWord % 2;
      constexpr int64_t kFields = kWord < 2 ? 0x3C3834301C181410 : 0x2C2824200C080400;
      return _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(kFields), u[kRotation]), table[kWord]);
    } else {
      __m512i index = kHigh == 0 ? u[kWord] : _mm512_srli_epi32(u[kWord], 4);
      if constexpr (kKind == CodeKind::kTurbo5) index = Mix<0x10101010>(FifthBit<kWord, kHigh>(u[4]), index);
      return _mm512_permutexvar_epi8(index, table[kWord]);
    }
  }

 private:
  [[gnu::always_inline]] inline void Prefetch(const LinePlace& place) const {
    if constexpr (kHasCrumbs) {
      PrefetchLine(ahead.plane[0] + place.crumbs);
      PrefetchLine(ahead.plane[0] + place.crumbs + place.b_after);
    }
    for (uint32_t i = 0; i < kRefinePlanes; ++i) PrefetchLine(ahead.plane[i + (kHasCrumbs ? 1 : 0)] + place.refine);
  }
  [[gnu::always_inline]] static inline void PrefetchLine(const uint8_t* line) {
    _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
  }

  [[gnu::always_inline]] inline void FromCrumbs(__m512i a, __m512i b, const LinePlace& place, __m512i u[5]) const {
    if constexpr (kKind == CodeKind::kTurbo2) {
      u[0] = u[1] = a;
      u[2] = u[3] = b;
    } else if constexpr (kKind == CodeKind::kTrellis2) {
      u[0] = a;
      u[1] = _mm512_ror_epi32(a, 2);
      u[2] = b;
      u[3] = _mm512_ror_epi32(b, 2);
    } else if constexpr (kKind == CodeKind::kTrellis3) {
      const __m512i p = Load(at.plane[1] + place.refine);
      u[0] = Mix<0x33333333>(a, p);
      u[1] = Mix<0x66666666>(_mm512_ror_epi32(a, 1), _mm512_ror_epi32(p, 3));
      u[2] = Mix<0x66666666>(_mm512_rol_epi32(b, 1), _mm512_rol_epi32(p, 3));
      u[3] = Mix<0x33333333>(p, b);
    } else {
      const __m512i p1 = Load(at.plane[1] + place.refine);
      __m512i za = p1, zb = p1;
      if constexpr (kKind != CodeKind::kTurbo3) {
        const __m512i p0 = Load(at.plane[2] + place.refine);
        za = Mix<0x55555555>(p1, p0);
        zb = Mix<0x55555555>(p0, p1);
      }
      u[0] = Mix<0x33333333>(a, za);
      u[1] = Mix<0x33333333>(za, a);
      u[2] = Mix<0x33333333>(b, zb);
      u[3] = Mix<0x33333333>(zb, b);
      if constexpr (kKind == CodeKind::kTurbo5) u[4] = Load(at.plane[3] + place.refine);
    }
  }

  // The fifth bits of a word's codes, moved to bit 4 of their bytes.
  template <int kWord, int kHigh>
  [[gnu::always_inline]] static inline __m512i FifthBit(__m512i plane) {
    constexpr int kPlace[kNibbleWords] = {2, 0, 3, 1};  // in a nibble: odd and even codes of A, of B
    constexpr int kLeft = 4 - kPlace[kWord] - 4 * kHigh;
    if constexpr (kLeft >= 0) return _mm512_slli_epi32(plane, kLeft);
    return _mm512_srli_epi32(plane, kLeft < 0 ? -kLeft : 0);
  }
};

// visit(i, a, b) for i = 0 to 3, vectors A and B of the codes that begin as kDwordFirstCode says of dword i. Two vectors are
// alive at a time, so that sums of many rows fit the registers.
template <typename Lines, typename Visit>
[[gnu::always_inline]] inline void ForEachPair(const Lines& lines, const LinePlace& place, const Visit& visit) {
  const LineWords words = lines.Words(place);
  visit(0, lines.template Bytes<0, 0>(words), lines.template Bytes<2, 0>(words));
  visit(1, lines.template Bytes<0, 1>(words), lines.template Bytes<2, 1>(words));
  visit(2, lines.template Bytes<1, 0>(words), lines.template Bytes<3, 0>(words));
  visit(3, lines.template Bytes<1, 1>(words), lines.template Bytes<3, 1>(words));
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_CODE_LINES_AVX512_H_
