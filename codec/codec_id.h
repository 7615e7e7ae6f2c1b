// The codecs a block may hold, what tells them apart, and the names people give them.
#ifndef POLARKV_CODEC_CODEC_ID_H_
#define POLARKV_CODEC_CODEC_ID_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "codec/codec_number.h"

namespace polarkv {

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
