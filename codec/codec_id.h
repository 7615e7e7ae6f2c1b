// The codecs a block may hold, what tells them apart, and the names people give them.
#ifndef POLARKV_CODEC_CODEC_ID_H_
#define POLARKV_CODEC_CODEC_ID_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

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

// How codes are made; codecs of a kind differ in their numbers of bits.
enum class CodecKind : uint8_t {
  kFp16,            // the numbers themselves
  kTurbo,           // rotated, each coordinate rounded to a Lloyd-Max level
  kTrellis,         // rotated, 16-entry trellis code
  kDeep,            // rotated, trellis code of 12-bit windows with computed values
  kPolar,           // radius and angle of RoPE pairs (PolarQuant)
  kPolarRecursive,  // rotated, angles of pairs of pairs .. of 16 coordinates (recursive PolarQuant)
  kQjl,             // signs of a rotated and projected key (QJL)
  kQjlOutliers,     // the same, with outlier channels sketched apart
  kTurboQjl,        // kTurbo, then the signs of what it leaves over
  kBand             // bands of RoPE pairs of like variance, each at bits of its own
};

// All that the layout of a block knows of a codec. This table is the one place where codecs differ for readers that do
// not decode.
struct CodecTraits {
  CodecId id;
  CodecKind kind;
  uint8_t eighth_bits;       // of codes, a coordinate, refinement and residual included; in eighths of a bit, at head_dim 128
  uint8_t payload_per_dim;   // bytes of one side's payload in a base-plane tile, for each coordinate; see CodeBytes
  uint8_t refine_planes;     // 0 to 2, of 8 * head_dim bytes a tile
  bool residual_plane;       // has PlaneKind::kKeyResidual
  bool keys_only;
  bool rotates;              // codes stand for coordinates after the signed block-Hadamard rotation
  bool has_scales;           // one magnitude a token, as a byte; only then tokens may escape and keys lose their mean
};

// In ascending id order.
std::span<const CodecTraits> AllCodecTraits();
// All codecs, in ascending id order.
std::span<const CodecId> AllCodecs();
bool IsKnownCodec(uint8_t id);
// `id` is a known codec.
const CodecTraits& TraitsOf(CodecId id);
// Lower-case name: "fp16", "turbo2", "deep1.5", "polar44", "polarR", "turbo3q", ...; "unknown" for others.
std::string_view CodecName(CodecId id);

// Bytes of one side's codes in a base-plane tile: payload_per_dim * head_dim, of bands what is a multiple of a bit for all
// coordinates of a band; with outlier channels, and what those take. Its payload: the same, rounded up to 64 by zeros.
uint32_t CodeBytes(const CodecTraits& codec, uint32_t head_dim);
uint32_t PayloadBytes(const CodecTraits& codec, uint32_t head_dim);

inline constexpr bool IsPolarPair(CodecId id) { return static_cast<uint8_t>(id) >= 64; }
inline constexpr CodecId PolarCodec(uint32_t radius_bits, uint32_t angle_bits) {
  return static_cast<CodecId>(64 + 8 * radius_bits + angle_bits);
}
inline constexpr uint32_t PolarRadiusBits(CodecId id) { return (static_cast<uint32_t>(id) - 64) / 8; }
inline constexpr uint32_t PolarAngleBits(CodecId id) { return (static_cast<uint32_t>(id) - 64) % 8; }

// Keys and values choose their codec independently.
struct CodecPair {
  CodecId k = CodecId::kTurbo4;
  CodecId v = CodecId::kTurbo4;
  friend bool operator==(const CodecPair&, const CodecPair&) = default;
};

// Names for pairs that serve a purpose: "default", "compact", "small", "tiny", "archive".
struct CodecAlias {
  std::string_view name;
  CodecPair codec;
};
std::span<const CodecAlias> CodecAliases();

// "turbo4" (both), "k=polar44,v=turbo4" (each, either order) or an alias. INVALID_ARGUMENT names what exists, or the
// codec that is for keys only and was asked for values.
absl::StatusOr<CodecPair> ParseCodecPair(std::string_view text);
// The shortest text of codec names that ParseCodecPair reads back.
std::string CodecPairName(CodecPair pair);

}  // namespace polarkv

#endif  // POLARKV_CODEC_CODEC_ID_H_
