// Codebooks of the turbo codecs: Lloyd-Max for N(0,1), as small integers (FORMAT.md, "Turbo codes").
//
// A coordinate z of variance 1 falls into level m = 0, 1, ... of |z|; its code is half-1-m if z < 0 and half+m if not,
// with half = 2^(bits-1), so that codes ascend with z. A reader that holds fewer bit planes sees the code's upper bits
// and uses a codebook with merged levels in the same unit.
#ifndef POLARKV_CODEC_TURBO_CODEBOOK_H_
#define POLARKV_CODEC_TURBO_CODEBOOK_H_

#include <array>
#include <cstdint>

#include "codec/codec_number.h"

namespace polarkv {

inline constexpr bool IsTurbo(CodecId id) {
  return id == CodecId::kTurbo1 || id == CodecId::kTurbo2 || id == CodecId::kTurbo3 || id == CodecId::kTurbo4 ||
         id == CodecId::kTurbo5;
}
// turbo<b>q: turbo<b>, and the signs of what it leaves over.
inline constexpr bool IsTurboQjl(CodecId id) {
  return id == CodecId::kTurbo1Qjl || id == CodecId::kTurbo2Qjl || id == CodecId::kTurbo3Qjl ||
         id == CodecId::kTurbo4Qjl;
}
// Has turbo codes: either of the above.
inline constexpr bool HasTurboCodes(CodecId id) { return IsTurbo(id) || IsTurboQjl(id); }

// Bits of a turbo code when every plane is there.
inline constexpr uint32_t TurboBits(CodecId id) {
  switch (id) {
    case CodecId::kTurbo1:
    case CodecId::kTurbo1Qjl:
      return 1;
    case CodecId::kTurbo2:
    case CodecId::kTurbo2Qjl:
      return 2;
    case CodecId::kTurbo3:
    case CodecId::kTurbo3Qjl:
      return 3;
    case CodecId::kTurbo5:
      return 5;
    default:
      return 4;
  }
}

inline constexpr uint32_t kMaxTurboBits = 5;
inline constexpr uint32_t kMaxTurboCodes = 1u << kMaxTurboBits;

struct TurboCodebook {
  uint32_t bits;                             // of a code as read
  std::array<int8_t, kMaxTurboCodes> image;  // by code; the first 2^bits are used
  float unit;                                // image units per standard deviation, where the mean squared error is least
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
inline constexpr TurboCodebook kTurbo5 =  // .002539 (.002505)
    turbo_codebook_internal::FromLevels<5>({2, 7, 12, 17, 22, 27, 32, 38, 44, 50, 57, 65, 73, 84, 97, 118}, 36.1583f);
inline constexpr TurboCodebook kTurbo5As4 =  // .009635 (.009561)
    turbo_codebook_internal::FromLevels<4>({5, 14, 24, 35, 47, 60, 77, 102}, 36.1583f);
inline constexpr TurboCodebook kTurbo5As3 =  // .035452 (.035356)
    turbo_codebook_internal::FromLevels<3>({9, 29, 52, 83}, 36.1583f);
inline constexpr TurboCodebook kTurbo4 =  // .009520 (.009501)
    turbo_codebook_internal::FromLevels<4>({6, 18, 30, 43, 57, 73, 93, 123}, 44.96f);
inline constexpr TurboCodebook kTurbo4As3 =  // .034956 (.034925)
    turbo_codebook_internal::FromLevels<3>({12, 36, 64, 100}, 44.96f);
inline constexpr TurboCodebook kTurbo4As2 =  // .121160 (.121093)
    turbo_codebook_internal::FromLevels<2>({23, 73}, 44.96f);
inline constexpr TurboCodebook kTurbo3 =  // .034563 (.034548)
    turbo_codebook_internal::FromLevels<3>({10, 31, 55, 88}, 40.9253f);
inline constexpr TurboCodebook kTurbo3As2 =  // .118730 (.118677)
    turbo_codebook_internal::FromLevels<2>({20, 64}, 40.9253f);
inline constexpr TurboCodebook kTurbo2 =  // .117482 (.117482)
    turbo_codebook_internal::FromLevels<2>({9, 30}, 19.8644f);
// The image is large so that a scale, which is the norm divided by images, never exceeds the largest float.
inline constexpr TurboCodebook kTurbo1 =  // .363380 (.363380)
    turbo_codebook_internal::FromLevels<1>({64}, 80.2120f);

// The codebook for reading the `bits` upper bits of a code: 2 .. TurboBits(id); turbo5 from 3, turbo1 at 1.
inline constexpr const TurboCodebook& TurboCodebookFor(CodecId id, uint32_t bits) {
  switch (TurboBits(id)) {
    case 1:
      return kTurbo1;
    case 2:
      return kTurbo2;
    case 3:
      return bits == 3 ? kTurbo3 : kTurbo3As2;
    case 5:
      return bits == 5 ? kTurbo5 : bits == 4 ? kTurbo5As4 : kTurbo5As3;
    default:
      return bits == 4 ? kTurbo4 : bits == 3 ? kTurbo4As3 : kTurbo4As2;
  }
}

// Thresholds between the levels of a rotated coordinate's magnitude, where kRotatedDeviation (lane_vectors.h) is one
// standard deviation; a threshold belongs to the level above it. Those of 2 to 4 bits are the multiples of 32 with the least
// error, so that a table of bytes can take their place (mean squared error at most +.12 %).
template <uint32_t kBits>
constexpr auto TurboThresholds() {
  if constexpr (kBits == 1) return std::array<int, 0>{};
  if constexpr (kBits == 2) return std::array<int, 1>{1632};
  if constexpr (kBits == 3) return std::array<int, 3>{832, 1760, 2912};
  if constexpr (kBits == 4) return std::array<int, 7>{448, 896, 1344, 1856, 2400, 3072, 4000};
  if constexpr (kBits == 5)
    return std::array<int, 15>{220, 440, 664, 892, 1125, 1366, 1617, 1881, 2162, 2465, 2798, 3175, 3616, 4167, 4952};
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_TURBO_CODEBOOK_H_
