// Compiled for AVX-512 with VNNI; called only where the machine has it (see turbo_attention.h on ODR). Sixteen tokens side by
// side, coordinate after coordinate.
#include <immintrin.h>

#include <cstring>

#include "codec/block_format.h"
#include "kernels/cpu/matrix_attention.h"
#include "kernels/cpu/sine_cosine_avx512.h"

namespace polarkv::cpu {
namespace {

constexpr uint32_t kLanes = 16;

// The bits of a string that begin at `bit`, at least 25 of them, of sixteen tokens whose strings are `stride` bytes apart.
// Reads nothing past the strings' ends: near them the four bytes are the last ones.
[[gnu::always_inline]] inline __m512i GatherBits(const uint8_t* strings, uint32_t stride, uint32_t bit) {
  const uint32_t byte = bit / 8 + 4 <= stride ? bit / 8 : stride - 4;
  const __m512i at = _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                                        _mm512_set1_epi32(static_cast<int>(stride)));
  const __m512i words = _mm512_i32gather_epi32(at, strings + byte, 1);
  return _mm512_srl_epi32(words, _mm_cvtsi32_si128(static_cast<int>(bit - 8 * byte)));
}

// codec/deep_code.h: the sum of the four bytes of a linear congruence, less 510.
[[gnu::always_inline]] inline __m512 DeepImages(__m512i window, uint32_t multiplier, uint32_t addend) {
  const __m512i hash = _mm512_add_epi32(_mm512_mullo_epi32(window, _mm512_set1_epi32(static_cast<int>(multiplier))),
                                        _mm512_set1_epi32(static_cast<int>(addend)));
  return _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(_mm512_set1_epi32(-510), hash, _mm512_set1_epi8(1)));
}

template <int kBits, int kCoordinates>
void ReadDeepLanes(const uint8_t* strings, uint32_t stride, uint32_t steps, float* out) {
  constexpr uint32_t kBatch = 24 / kBits;  // symbols of one gather
  const __m512i symbol_mask = _mm512_set1_epi32((1 << kBits) - 1), window_mask = _mm512_set1_epi32(4095);
  __m512i window = _mm512_setzero_si512();
  // The ring's end comes before its beginning: the first round's images are not kept.
  constexpr uint32_t kBefore = (12 + kBits - 1) / kBits;
  for (uint32_t i = steps - kBefore; i < steps; ++i) {
    const __m512i symbol = _mm512_and_si512(GatherBits(strings, stride, i * kBits), symbol_mask);
    window = _mm512_or_si512(_mm512_slli_epi32(window, kBits), symbol);
  }
  for (uint32_t first = 0; first < steps; first += kBatch) {
    __m512i bits = GatherBits(strings, stride, first * kBits);
    const uint32_t end = first + kBatch < steps ? first + kBatch : steps;
    for (uint32_t i = first; i < end; ++i) {
      window = _mm512_or_si512(_mm512_slli_epi32(window, kBits), _mm512_and_si512(bits, symbol_mask));
      window = _mm512_and_si512(window, window_mask);
      bits = _mm512_srli_epi32(bits, kBits);
      float* to = out + i * kCoordinates * kTileTokens;
      _mm512_store_ps(to, DeepImages(window, 34038481u, 76625530u));
      if constexpr (kCoordinates == 2) _mm512_store_ps(to + kTileTokens, DeepImages(window, 747796405u, 2891336453u));
    }
  }
}

template <int kBits, int kCoordinates>
void ReadDeepTile(const uint8_t* payload, uint32_t head_dim, float* out) {
  const uint32_t steps = head_dim / kCoordinates, stride = steps * kBits / 8;
  for (uint32_t t = 0; t < kTileTokens; t += kLanes) ReadDeepLanes<kBits, kCoordinates>(payload + t * stride, stride, steps, out + t);
}

// Of angles in turns, at least 0; the polynomials are those of FORMAT.md, "Key means".
[[gnu::always_inline]] inline void Directions(__m512 turns, __m512& cosine, __m512& sine) {
  const __m512 quarters = _mm512_roundscale_ps(_mm512_mul_ps(turns, _mm512_set1_ps(4)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 u = _mm512_fnmadd_ps(quarters, _mm512_set1_ps(.25f), turns);
  __m512 s, c;
  SineCosine(u, s, c);
  const __m512i quadrant = _mm512_cvtps_epi32(quarters), minus = _mm512_set1_epi32(INT32_MIN);
  const __mmask16 odd = _mm512_test_epi32_mask(quadrant, _mm512_set1_epi32(1));
  const __mmask16 upper = _mm512_test_epi32_mask(quadrant, _mm512_set1_epi32(2));
  const __m512 x = _mm512_mask_mov_ps(c, odd, s), y = _mm512_mask_mov_ps(s, odd, c);
  const auto negate = [&](__mmask16 where, __m512 z) {
    return _mm512_castsi512_ps(_mm512_mask_xor_epi32(_mm512_castps_si512(z), where, _mm512_castps_si512(z), minus));
  };
  cosine = negate(static_cast<__mmask16>(odd ^ upper), x);
  sine = negate(upper, y);
}

}  // namespace

void ReadHalfMatrix(const uint8_t* payload, uint32_t head_dim, float* out) {
  for (uint32_t i = 0; i < kTileTokens * head_dim; i += kLanes) {
    _mm512_store_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(payload + 2 * i))));
  }
}

void ReadDeepMatrix(uint32_t symbol_bits, uint32_t coordinates, const uint8_t* payload, uint32_t head_dim, float* out) {
  if (symbol_bits == 2) return ReadDeepTile<2, 1>(payload, head_dim, out);
  if (symbol_bits == 5) return ReadDeepTile<5, 2>(payload, head_dim, out);
  if (coordinates == 2) return ReadDeepTile<3, 2>(payload, head_dim, out);
  ReadDeepTile<3, 1>(payload, head_dim, out);
}

void ReadPolarMatrix(uint32_t angle_bits, const uint16_t (*pairs)[2], const uint8_t* payload, uint32_t head_dim, float* out) {
  const __m512 bins = _mm512_setr_ps(.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f, 8.5f, 9.5f, 10.5f, 11.5f, 12.5f, 13.5f,
                                     14.5f, 15.5f);
  const __m512i angle_mask = _mm512_set1_epi32((1 << angle_bits) - 1);
  const __m128i count = _mm_cvtsi32_si128(static_cast<int>(angle_bits));
  const uint8_t* codes = payload + 4 * head_dim;
  for (uint32_t p = 0; p < head_dim / 2; ++p, payload += 8, codes += kTileTokens) {
    // angle_min as an integer; angle_step, radius_min and radius_step as halves.
    uint16_t parameters[4];
    std::memcpy(parameters, payload, sizeof parameters);
    const auto half = [&](int i) { return _mm512_set1_ps(_mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(parameters[i])))); };
    const __m512 angle = _mm512_fmadd_ps(bins, half(1), _mm512_set1_ps(parameters[0]));
    __m512 cosine, sine;
    Directions(_mm512_mul_ps(angle, _mm512_set1_ps(0x1p-16f)), cosine, sine);
    float* first = out + pairs[p][0] * kTileTokens;
    float* second = out + pairs[p][1] * kTileTokens;
    const __m512 radius_min = half(2), radius_step = half(3);
    for (uint32_t t = 0; t < kTileTokens; t += kLanes) {
      const __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + t)));
      const __m512i at = _mm512_and_si512(code, angle_mask);
      const __m512 bin = _mm512_add_ps(_mm512_cvtepi32_ps(_mm512_srl_epi32(code, count)), _mm512_set1_ps(.5f));
      const __m512 radius = _mm512_fmadd_ps(bin, radius_step, radius_min);
      _mm512_store_ps(first + t, _mm512_mul_ps(radius, _mm512_permutexvar_ps(at, cosine)));
      _mm512_store_ps(second + t, _mm512_mul_ps(radius, _mm512_permutexvar_ps(at, sine)));
    }
  }
}

}  // namespace polarkv::cpu
