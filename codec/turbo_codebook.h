// Codebooks of turbo2, turbo3 and turbo4: Lloyd-Max for N(0,1), as small integers (FORMAT.md, "Turbo codes").
//
// A coordinate z of variance 1 falls into level m = 0, 1, ... of |z|; its code is half-1-m if z < 0 and half+m if not,
// with half = 2^(bits-1), so that codes ascend with z. A reader that holds fewer bit planes sees the code's upper bits
// and uses a codebook with merged levels in the same unit.
#ifndef POLARKV_CODEC_TURBO_CODEBOOK_H_
#define POLARKV_CODEC_TURBO_CODEBOOK_H_

#include <array>
#include <cstdint>

#include "codec/codec_id.h"

namespace polarkv {

inline constexpr bool IsTurbo(CodecId id) {
  return id == CodecId::kTurbo2 || id == CodecId::kTurbo3 || id == CodecId::kTurbo4;
}

// Bits of a turbo code when every plane is there.
inline constexpr uint32_t TurboBits(CodecId id) { return id == CodecId::kTurbo2 ? 2 : id == CodecId::kTurbo3 ? 3 : 4; }

struct TurboCodebook {
  uint32_t bits;                 // of a code as read
  std::array<int8_t, 16> image;  // by code; the first 2^bits are used
  float unit;                    // image units per standard deviation, where the mean squared error is least
};

namespace turbo_codebook_internal {
template <uint32_t kBits>
constexpr TurboCodebook FromLevels(const std::array<int8_t, (1u << kBits) / 2>& levels, float unit) {
  constexpr uint32_t kHalf = (1u << kBits) / 2;
  TurboCodebook book{kBits, {}, unit};
  for (uint32_t m = 0; m < kHalf; ++m) {
    book.image[kHalf + m] = levels[m];
    book.image[kHalf - 1 - m] = static_cast<int8_t>(-levels[m]);
  }
  return book;
}
}  // namespace turbo_codebook_internal

// Mean squared errors are those of N(0,1); in brackets the least possible with these bits (merged levels: thresholds).
inline constexpr TurboCodebook kTurbo4 =  // .009516 (.009501)
    turbo_codebook_internal::FromLevels<4>({6, 18, 30, 43, 57, 73, 93, 123}, 45.10f);
inline constexpr TurboCodebook kTurbo4As3 =  // .034886 (.034847)
    turbo_codebook_internal::FromLevels<3>({12, 36, 64, 100}, 45.10f);
inline constexpr TurboCodebook kTurbo4As2 =  // .120935 (.120872)
    turbo_codebook_internal::FromLevels<2>({23, 73}, 45.10f);
inline constexpr TurboCodebook kTurbo3 =  // .034549 (.034548)
    turbo_codebook_internal::FromLevels<3>({10, 31, 55, 88}, 40.9253f);
inline constexpr TurboCodebook kTurbo3As2 =  // .118520 (.118449)
    turbo_codebook_internal::FromLevels<2>({20, 64}, 40.9253f);
inline constexpr TurboCodebook kTurbo2 =  // .117482 (.117482)
    turbo_codebook_internal::FromLevels<2>({9, 30}, 19.8644f);

// The codebook for reading `bits` upper bits (2 .. TurboBits(id)) of a code.
inline constexpr const TurboCodebook& TurboCodebookFor(CodecId id, uint32_t bits) {
  if (id == CodecId::kTurbo2) return kTurbo2;
  if (id == CodecId::kTurbo3) return bits == 3 ? kTurbo3 : kTurbo3As2;
  return bits == 4 ? kTurbo4 : bits == 3 ? kTurbo4As3 : kTurbo4As2;
}

// Level of |z|, an encoder's choice. A threshold belongs to the level above it. Four bits: floor of a cubic instead of
// seven comparisons, for the GPU's sake (mean squared error +.16 %); its fma order is part of the format.
inline constexpr std::array<float, 1> kTurbo2Thresholds = {.981599f};
inline constexpr std::array<float, 3> kTurbo3Thresholds = {.500550f, 1.049957f, 1.747927f};
inline constexpr float kTurbo4LevelLimit = 2.9f;
inline constexpr std::array<float, 3> kTurbo4LevelCubic = {3.843806f, -0.076240f, -0.128903f};  // of u, u^2, u^3

}  // namespace polarkv

#endif  // POLARKV_CODEC_TURBO_CODEBOOK_H_
