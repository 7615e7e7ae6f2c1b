// Polar keys (FORMAT.md, "Polar codes"; PolarQuant, arXiv 2502.00527): radius and angle of pairs of coordinates, each of 16
// bins, whose place and width every pair of a tile has for itself. Each code is made into radius * (cos, sin) in fp32 and
// rounded to fp16, once for all query rows of the KV head; that is a register of operand A of an fp16 matrix multiply, summed
// in fp32. (With a table for each pair and query row, as published, eight rows would be eight look-ups a code.)
#ifndef POLARKV_KERNELS_CUDA_POLAR_KEYS_H_
#define POLARKV_KERNELS_CUDA_POLAR_KEYS_H_

#include "kernels/cuda/tile_products.h"

namespace polarkv::cuda {

inline constexpr uint32_t kPolarParameterBytes = 8;  // of a pair: PolarParameters of block_format.h
inline constexpr uint32_t kPolarCodeBytes = 64;      // of a pair: a token's code is its angle's bin and, above, its radius'

// One lane's copies of a tile's keys to offset `to` of the stage. Where the two tokens of lanes 4g + t with t = 2, 3 are
// read, neighbouring runs of 16 tokens change places, for the sake of banks.
template <int kDim, class Copy>
POLARKV_WARP_FUNCTION void FillPolarKeys(const uint8_t* payload, uint32_t lane, uint32_t to, const Copy& copy) {
  constexpr uint32_t kParameters = kDim / 2 * kPolarParameterBytes / 16, kVectors = kDim * 36 / 16;
  POLARKV_UNROLL
  for (uint32_t first = 0; first < kVectors; first += 32) {
    const uint32_t from = first + lane;
    const uint32_t swap = from < kParameters ? 0 : (from - kParameters) / 8 % 2;
    copy(from < kVectors, to + 16 * (from ^ swap), payload + 16 * from);
  }
}

// A pair's bins: the float 1 + bin / 16 -> angle in radians, within a turn of 0, and radius.
template <class W>
struct PolarBins {
  typename W::F32 angle_step, angle_start, radius_step, radius_start;

  POLARKV_WARP_FUNCTION PolarBins(typename W::U32 angle, typename W::U32 radius) {
    using F32 = typename W::F32;
    constexpr float kRadians = 6.28318531f / 65536.0f;
    const F32 step = W::HighHalf(angle), lowest = W::ToFloat(W::AsI32(angle & 0xFFFFu));
    // Whole turns are taken off in the middle of the arc.
    const F32 turns = W::ToFloat(W::Round(W::Fma(step, F32(8.0f), lowest) * (1.0f / 65536.0f)));
    angle_step = step * (16.0f * kRadians);
    angle_start = W::Fma(step, F32(-15.5f), W::Fma(turns, F32(-65536.0f), lowest)) * kRadians;
    radius_step = W::HighHalf(radius) * 16.0f;
    radius_start = W::Fma(W::HighHalf(radius), F32(-15.5f), W::LowHalf(radius));
  }
};

// x and y of the four codes in the bytes of `codes`, as two fp16 each.
template <class W>
POLARKV_WARP_FUNCTION void DecodePolar(const PolarBins<W>& bins, typename W::U32 codes, typename W::U32 (&pair)[4]) {
  using F32 = typename W::F32;
  using U32 = typename W::U32;
  const U32 angles = ((codes << 3) & 0x78787878u) | 0x80808080u, radii = ((codes >> 1) & 0x78787878u) | 0x80808080u;
  POLARKV_UNROLL
  for (uint32_t i = 0; i < 4; ++i) {
    // 1 + bin / 16: the bin in the upper bits of a float's fraction.
    const U32 selector = U32(0x7044u | i << 8);
    const F32 angle_bin = W::FloatOfBits(W::Permute(angles, U32(0x3F000000u), selector));
    const F32 radius_bin = W::FloatOfBits(W::Permute(radii, U32(0x3F000000u), selector));
    const F32 angle = W::Fma(angle_bin, bins.angle_step, bins.angle_start);
    const F32 radius = W::Fma(radius_bin, bins.radius_step, bins.radius_start);
    pair[i] = W::template PackElements<ElementType::kF16>(radius * W::Cosine(angle), radius * W::Sine(angle));
  }
}

// S of the tile. Lane 4g + t has pairs 4m + t; rows of queries: pairs of fp16 [4][kDim / 8], the pairs of t together.
// Source: PolarKeys().
template <class W, int kDim, class Source>
POLARKV_WARP_FUNCTION void ScoreTile(const Source& tile, const PermuteTables<kPolar44>&, const RowQueries<W> (&queries)[1],
                                     typename W::F32 (&scores)[1][4][4]) {
  using U32 = typename W::U32;
  POLARKV_UNROLL
  for (int i = 0; i < 16; ++i) scores[0][i / 4][i % 4] = 0.0f;
  const U32 g = W::Lane() >> 2, t = W::Lane() & 3u;
  const uint8_t* const parameters = tile.PolarKeys();
  const uint8_t* const codes = parameters + kDim / 2 * kPolarParameterBytes;
  const U32 code_place = t * kPolarCodeBytes + (((g >> 1) ^ (t >> 1)) << 4);
  const U32 tokens = (g & 1u) * 0x2222u + 0x5410u;  // of a word and the next: bytes 0, 1 or 2, 3 of each
  const U32 row = g * static_cast<uint32_t>(2 * kDim) + t * static_cast<uint32_t>(kDim / 2);
  for (uint32_t four = 0; four < kDim / 32; ++four) {
    const Words4<W> query = W::LoadVector(queries[0].rows, row + 16 * four);
    POLARKV_UNROLL
    for (uint32_t step = 0; step < 2; ++step) {
      U32 pairs[2][2][4];  // [pair][slots 0 to 3, 4 to 7]
      POLARKV_UNROLL
      for (uint32_t i = 0; i < 2; ++i) {
        const uint32_t m = 4 * four + 2 * step + i;
        const U32 place = t * kPolarParameterBytes + 4 * m * kPolarParameterBytes;
        const PolarBins<W> bins(W::LoadWord(parameters, place), W::LoadWord(parameters, place + 4u));
        const Words4<W> words = W::LoadVector(codes, code_place + 4 * m * kPolarCodeBytes);
        POLARKV_UNROLL
        for (int half = 0; half < 2; ++half) {
          DecodePolar<W>(bins, W::Permute(words.w[2 * half], words.w[2 * half + 1], tokens), pairs[i][half]);
        }
      }
      POLARKV_UNROLL
      for (int w = 0; w < 4; ++w) {
        W::MmaF16(scores[0][w], pairs[0][0][w], pairs[0][1][w], pairs[1][0][w], pairs[1][1][w], query.w[2 * step],
                  query.w[2 * step + 1]);
      }
    }
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_POLAR_KEYS_H_
