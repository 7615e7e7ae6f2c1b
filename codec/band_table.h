// Bands: which of a head's coordinates are coded together, at how many bits, and how large they are (FORMAT.md, "Bands").
// The tables that a layer's base segment has for each head, and what a reader may rely on in them.
#ifndef POLARKV_CODEC_BAND_TABLE_H_
#define POLARKV_CODEC_BAND_TABLE_H_

#include <array>
#include <cstdint>
#include <span>

#include "codec/codec_id.h"

namespace polarkv {

inline constexpr uint32_t kBandPairs = 8;  // RoPE pairs of a band
inline constexpr uint32_t kBandCoordinates = 2 * kBandPairs;
inline constexpr uint32_t kMaxBands = 16;  // of the largest head_dim
inline constexpr uint32_t kMaxBandBits = 6;
inline constexpr uint32_t kBandBytesPerBit = 128;  // of a tile's codes: 64 tokens of 16 coordinates

inline constexpr uint32_t BandCount(uint32_t head_dim) { return head_dim / kBandCoordinates; }
// A table: u8 pair[head_dim / 2], u8 bits[bands], u8 deviation[bands].
inline constexpr uint32_t BandTableBytes(uint32_t head_dim) { return head_dim / 2 + 2 * BandCount(head_dim); }
inline constexpr bool IsBanded(CodecId codec) {
  return codec == CodecId::kBand2 || codec == CodecId::kBand2_5 || codec == CodecId::kBand3 || codec == CodecId::kBand4;
}
// The codec of as many bits that does without bands.
inline constexpr CodecId PlainCodecOf(CodecId banded) {
  switch (banded) {
    case CodecId::kBand2:
      return CodecId::kTrellis2;
    case CodecId::kBand2_5:
      return CodecId::kDeep2_5;
    case CodecId::kBand3:
      return CodecId::kTrellis3;
    default:
      return CodecId::kTurbo4;
  }
}
// Sum of the bands' bits.
inline uint32_t BandBudget(CodecId codec, uint32_t head_dim) {
  return CodeBytes(TraitsOf(codec), head_dim) / kBandBytesPerBit;
}

struct BandTable {
  std::array<uint8_t, kMaxBands * kBandPairs> pair{};  // RoPE pairs, those of band 0 first
  std::array<uint8_t, kMaxBands> bits{};               // of a code in each band
  std::array<uint8_t, kMaxBands> deviation{};          // BandDeviation's argument
};

// Why a table is not one of `codec`, or nullptr.
const char* BandTableDefect(std::span<const uint8_t> table, CodecId codec, uint32_t head_dim);
// Takes any bytes: pairs beyond the last are others, bits beyond what the codec has are none.
BandTable ReadBandTable(const uint8_t* table, CodecId codec, uint32_t head_dim);
void WriteBandTable(const BandTable& bands, uint32_t head_dim, uint8_t* table);

}  // namespace polarkv

#endif  // POLARKV_CODEC_BAND_TABLE_H_
