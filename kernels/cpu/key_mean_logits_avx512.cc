// Compiled for AVX-512; called only where the machine has it (see turbo_attention.h on ODR).
#include "codec/block_format.h"
#include "kernels/cpu/avx512_rows.h"
#include "kernels/cpu/key_mean_sums.h"
#include "kernels/cpu/tile_scores_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kHalfTile = 32;
constexpr uint32_t kPlaces = 128 + 16;  // the largest number of pairs, then the slow terms, in whole vectors

// A row of a tile.
struct Line {
  uint32_t tile, row;
};

// A and B at the middle of the line's tile.
void TurnLine(const KeyMeanSums& in, Line line, float* turned_a, float* turned_b) {
  const float* cosine = in.cosine_now + line.tile * in.pairs;
  const float* sine = in.sine_now + line.tile * in.pairs;
  for (uint32_t p = 0; p < in.pairs; p += 16) {
    const __m512 a = _mm512_loadu_ps(in.a + line.row * in.pairs + p), b = _mm512_loadu_ps(in.b + line.row * in.pairs + p);
    const __m512 c = _mm512_loadu_ps(cosine + p), s = _mm512_loadu_ps(sine + p);
    _mm512_store_ps(turned_a + p, _mm512_fmadd_ps(a, c, _mm512_mul_ps(b, s)));
    _mm512_store_ps(turned_b + p, _mm512_fmsub_ps(b, c, _mm512_mul_ps(a, s)));
  }
}

// Puts the sums of the slow pairs' terms after the fast pairs' A and B. kLines: 1 or 2.
template <uint32_t kLines>
[[gnu::always_inline]] inline void SumSlowPairs(const KeyMeanSums& in, float (*turned)[2][kPlaces]) {
  __m512 sums[16];  // [line][A or B][term]
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (uint32_t p = in.fast / 16 * 16; p < in.pairs; p += 16) {
    for (uint32_t term = 0; term < kSlowTerms; ++term) {
      const __m512 cosine = _mm512_loadu_ps(in.slow_cosine + term * in.pairs + p);
      const __m512 sine = _mm512_loadu_ps(in.slow_sine + term * in.pairs + p);
      for (uint32_t l = 0; l < kLines; ++l) {
        sums[8 * l + term] = _mm512_fmadd_ps(cosine, _mm512_load_ps(turned[l][0] + p), sums[8 * l + term]);
        sums[8 * l + 4 + term] = _mm512_fmadd_ps(sine, _mm512_load_ps(turned[l][1] + p), sums[8 * l + 4 + term]);
      }
    }
  }
  alignas(64) float of_terms[4][kSlowTerms];
  _mm512_store_ps(of_terms, SumEach(sums));
  for (uint32_t l = 0; l < kLines; ++l) {
    for (uint32_t side = 0; side < 2; ++side) _mm_storeu_ps(turned[l][side] + in.fast, _mm_load_ps(of_terms[2 * l + side]));
  }
}

// Adds a line's sums by token, where `tokens` has them.
void AddLine(const __m512 by_token[4], uint64_t tokens, float unit, float* logits) {
  __m512i natural[4];
  RowScores ordered;
  for (int i = 0; i < 4; ++i) {
    natural[i] = _mm512_maskz_mov_epi32(static_cast<__mmask16>(tokens >> (16 * i)), _mm512_castps_si512(by_token[i]));
    ordered[i] = _mm512_setzero_si512();
  }
  AddInScoreOrder(natural, ordered);  // to integer zeros: moves bits
  for (int i = 0; i < 4; ++i) {
    float* to = logits + 16 * i;
    _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_castsi512_ps(ordered[i]), _mm512_set1_ps(unit), _mm512_loadu_ps(to)));
  }
}

// kLines lines: what is common to the tokens before and after the tile's middle, and what differs in sign.
template <uint32_t kLines>
void AddLines(const KeyMeanSums& in, uint32_t first, const uint64_t* tokens, float unit, float* logits) {
  alignas(64) float turned[kLines][2][kPlaces];
  Line line[kLines];
  __m512 common[kLines][2], differing[kLines][2];
  for (uint32_t l = 0; l < kLines; ++l) {
    line[l] = {(first + l) / in.rows, (first + l) % in.rows};
    TurnLine(in, line[l], turned[l][0], turned[l][1]);
    for (int v = 0; v < 2; ++v) common[l][v] = differing[l][v] = _mm512_setzero_ps();
  }
  for (uint32_t l = 0; l < kLines; l += 2) SumSlowPairs<(kLines > 1 ? 2 : 1)>(in, turned + l);
  for (uint32_t term = 0; term < in.fast + kSlowTerms; ++term) {
    for (uint32_t v = 0; v < 2; ++v) {
      const __m512 cosine = _mm512_loadu_ps(in.cosine + term * kHalfTile + 16 * v);
      const __m512 sine = _mm512_loadu_ps(in.sine + term * kHalfTile + 16 * v);
      for (uint32_t l = 0; l < kLines; ++l) {
        common[l][v] = _mm512_fmadd_ps(cosine, _mm512_set1_ps(turned[l][0][term]), common[l][v]);
        differing[l][v] = _mm512_fmadd_ps(sine, _mm512_set1_ps(turned[l][1][term]), differing[l][v]);
      }
    }
  }
  const __m512i backwards = _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (uint32_t l = 0; l < kLines; ++l) {
    const __m512 unturned = _mm512_set1_ps(in.unturned[line[l].row]);
    const auto before = [&](int v) {
      return _mm512_permutexvar_ps(backwards, _mm512_add_ps(unturned, _mm512_sub_ps(common[l][v], differing[l][v])));
    };
    const auto after = [&](int v) { return _mm512_add_ps(unturned, _mm512_add_ps(common[l][v], differing[l][v])); };
    const __m512 by_token[4] = {before(1), before(0), after(0), after(1)};
    AddLine(by_token, tokens[line[l].tile], unit, logits + (first + l) * kTileTokens);
  }
}

}  // namespace

void AddKeyMeansAvx512(const KeyMeanSums& in, const uint64_t* tokens, uint32_t tiles, float unit, float* logits) {
  constexpr uint32_t kLinesTogether = 4;
  const uint32_t lines = tiles * in.rows;
  uint32_t line = 0;
  for (; line + kLinesTogether <= lines; line += kLinesTogether) AddLines<kLinesTogether>(in, line, tokens, unit, logits);
  for (; line < lines; ++line) AddLines<1>(in, line, tokens, unit, logits);
}

}  // namespace polarkv::cpu
