// The numbers of the codecs that a block may hold. Plain C++, as are the codes' tables: bodies for machines without this
// library's dependencies need no more.
#ifndef POLARKV_CODEC_CODEC_NUMBER_H_
#define POLARKV_CODEC_CODEC_NUMBER_H_

#include <cstdint>

namespace polarkv {

// Values are part of the block format (FORMAT.md, "Codecs"). 0 is never valid. polar<r><t>, a radius of r bits and an
// angle of t bits for a pair of coordinates, is 64 + 8 r + t for r, t >= 1 and r + t <= 8; see PolarCodec.
enum class CodecId : uint8_t {
  kFp16 = 1,
  kTurbo2 = 2,
  kTurbo3 = 3,
  kTurbo4 = 4,
  kTurbo1 = 5,
  kTurbo5 = 6,
  kTrellis1 = 8,
  kTrellis2 = 9,
  kTrellis3 = 10,
  kDeep1_5 = 11,
  kDeep2 = 12,
  kDeep2_5 = 13,
  kDeep3 = 14,
  kPolarRecursive = 16,
  kQjl1 = 17,
  kQjl2 = 18,
  kQjl4 = 19,
  kTurbo1Qjl = 20,
  kTurbo2Qjl = 21,
  kTurbo3Qjl = 22,
  kTurbo4Qjl = 23,
  kBand2 = 24,
  kBand2_5 = 25,
  kBand3 = 26,
  kBand4 = 27,
  kQjl1Outliers = 28,
  kQjl2Outliers = 29,
  kQjl4Outliers = 30,
  kPolar44 = 100
};

inline constexpr bool IsPolarPair(CodecId id) { return static_cast<uint8_t>(id) >= 64; }
inline constexpr CodecId PolarCodec(uint32_t radius_bits, uint32_t angle_bits) {
  return static_cast<CodecId>(64 + 8 * radius_bits + angle_bits);
}
inline constexpr uint32_t PolarRadiusBits(CodecId id) { return (static_cast<uint32_t>(id) - 64) / 8; }
inline constexpr uint32_t PolarAngleBits(CodecId id) { return (static_cast<uint32_t>(id) - 64) % 8; }

}  // namespace polarkv

#endif  // POLARKV_CODEC_CODEC_NUMBER_H_
