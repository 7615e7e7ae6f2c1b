// The codecs a block may hold, and the names people give them.
#ifndef POLARKV_CODEC_CODEC_ID_H_
#define POLARKV_CODEC_CODEC_ID_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace polarkv {

// Values are part of the block format (FORMAT.md, "Codecs"). 0 is never valid.
enum class CodecId : uint8_t {
  kFp16 = 1,     // passthrough
  kTurbo2 = 2,   // rotated Lloyd-Max codes, 2 bits
  kTurbo3 = 3,   // 3 bits: 2-bit base plane + 1 refinement plane
  kTurbo4 = 4,   // 4 bits: 2-bit base plane + 2 refinement planes
  kPolar44 = 16  // PolarQuant on RoPE pairs, 4-bit radius and 4-bit angle
};

// All codecs, in ascending id order.
std::span<const CodecId> AllCodecs();
bool IsKnownCodec(uint8_t id);
// Lower-case name: "fp16", "turbo2", ..., "polar44".
std::string_view CodecName(CodecId id);

// Keys and values choose their codec independently.
struct CodecPair {
  CodecId k = CodecId::kTurbo4;
  CodecId v = CodecId::kTurbo4;
  friend bool operator==(const CodecPair&, const CodecPair&) = default;
};

// "turbo4" (both) or "k=polar44,v=turbo4" (each, either order). INVALID_ARGUMENT names the codecs that exist.
absl::StatusOr<CodecPair> ParseCodecPair(std::string_view text);
// The shortest text that ParseCodecPair reads back.
std::string CodecPairName(CodecPair pair);

}  // namespace polarkv

#endif  // POLARKV_CODEC_CODEC_ID_H_
