// Compiled for AVX-512; called only where the machine has it (see turbo_attention.h on ODR).
#include "codec/block_format.h"
#include "kernels/cpu/key_mean_sums.h"
#include "kernels/cpu/tile_scores_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kMaxPairs = 128, kHalfTile = 32;

// kRows rows: what is common to the tokens before and after the tile's middle, and what differs in sign.
template <int kRows>
void SumRows(const KeyMeanSums& in, uint32_t row, uint64_t tokens, float unit, float* logits) {
  alignas(64) float turned[kRows][2][kMaxPairs];
  for (int r = 0; r < kRows; ++r) {
    const float* a = in.a + (row + static_cast<uint32_t>(r)) * in.pairs;
    const float* b = in.b + (row + static_cast<uint32_t>(r)) * in.pairs;
    for (uint32_t p = 0; p < in.pairs; ++p) {
      turned[r][0][p] = a[p] * in.cosine_now[p] + b[p] * in.sine_now[p];
      turned[r][1][p] = b[p] * in.cosine_now[p] - a[p] * in.sine_now[p];
    }
  }
  __m512 common[kRows][2], differing[kRows][2];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < 2; ++v) common[r][v] = differing[r][v] = _mm512_setzero_ps();
  }
  for (uint32_t p = 0; p < in.pairs; ++p) {
    for (uint32_t v = 0; v < 2; ++v) {
      const __m512 cosine = _mm512_loadu_ps(in.cosine + p * kHalfTile + 16 * v);
      const __m512 sine = _mm512_loadu_ps(in.sine + p * kHalfTile + 16 * v);
      for (int r = 0; r < kRows; ++r) {
        common[r][v] = _mm512_fmadd_ps(cosine, _mm512_set1_ps(turned[r][0][p]), common[r][v]);
        differing[r][v] = _mm512_fmadd_ps(sine, _mm512_set1_ps(turned[r][1][p]), differing[r][v]);
      }
    }
  }
  const __m512i backwards = _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (int r = 0; r < kRows; ++r) {
    const __m512 unturned = _mm512_set1_ps(in.unturned[row + static_cast<uint32_t>(r)]);
    const auto before = [&](int v) {
      return _mm512_permutexvar_ps(backwards, _mm512_add_ps(unturned, _mm512_sub_ps(common[r][v], differing[r][v])));
    };
    const auto after = [&](int v) { return _mm512_add_ps(unturned, _mm512_add_ps(common[r][v], differing[r][v])); };
    const __m512 by_token[4] = {before(1), before(0), after(0), after(1)};
    __m512i natural[4];
    RowScores ordered;
    for (int i = 0; i < 4; ++i) {
      natural[i] = _mm512_maskz_mov_epi32(static_cast<__mmask16>(tokens >> (16 * i)), _mm512_castps_si512(by_token[i]));
      ordered[i] = _mm512_setzero_si512();
    }
    AddInScoreOrder(natural, ordered);  // to integer zeros: moves bits
    for (int i = 0; i < 4; ++i) {
      float* to = logits + (row + static_cast<uint32_t>(r)) * kTileTokens + 16 * i;
      _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_castsi512_ps(ordered[i]), _mm512_set1_ps(unit), _mm512_loadu_ps(to)));
    }
  }
}

}  // namespace

void AddKeyMeansAvx512(const KeyMeanSums& in, uint32_t rows, uint64_t tokens, float unit, float* logits) {
  uint32_t row = 0;
  for (; row + 4 <= rows; row += 4) SumRows<4>(in, row, tokens, unit, logits);
  for (; row < rows; ++row) SumRows<1>(in, row, tokens, unit, logits);
}

}  // namespace polarkv::cpu
