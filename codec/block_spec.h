// What a block is, apart from its payload: the decoded form of the header's fields.
#ifndef POLARKV_CODEC_BLOCK_SPEC_H_
#define POLARKV_CODEC_BLOCK_SPEC_H_

#include <array>
#include <bit>
#include <cstdint>

#include "absl/status/status.h"
#include "codec/block_format.h"
#include "codec/codec_id.h"

namespace polarkv {

inline constexpr std::array<uint32_t, 6> kHeadDims = {64, 80, 96, 128, 192, 256};
bool IsKnownHeadDim(uint32_t head_dim);
// Whether a codec's coordinates are rotated by the signed block-Hadamard transform (the turbo codecs).
bool CodecRotates(CodecId codec);
inline bool PairRotates(CodecPair pair) { return CodecRotates(pair.k) || CodecRotates(pair.v); }
// Size of one Hadamard block: the largest power of two that divides head_dim.
uint16_t RotationBlock(uint32_t head_dim);

struct Rope {
  RopePairing pairing = RopePairing::kNone;
  float base = 0;     // theta; 0 without RoPE
  uint16_t dims = 0;  // leading coordinates that are rotated, even; 0 without RoPE
  friend bool operator==(const Rope&, const Rope&) = default;
};

struct BlockSpec {
  uint16_t layers = 0;
  uint16_t kv_heads = 0;
  uint16_t first_kv_head = 0;
  uint16_t head_dim = 0;  // 64, 80, 96, 128, 192 or 256
  uint32_t tokens = 0;
  uint64_t first_position = 0;
  CodecPair codec;
  Dtype source_dtype = Dtype::kF16;
  Rope rope;
  uint64_t rotation_seed = kDefaultRotationSeed;  // no meaning, not stored and read back as the default if no codec rotates
  std::array<uint8_t, 16> profile_digest{};  // zero: version 1 has no profiles
  std::array<uint8_t, 16> namespace_tag{};
  std::array<uint8_t, 8> key_tag{};

  static constexpr uint64_t kDefaultRotationSeed = 0x706F6C61726B7631;  // "polarkv1"
  uint32_t tiles() const { return (tokens + kTileTokens - 1) / kTileTokens; }
  friend bool operator==(const BlockSpec&, const BlockSpec&) = default;
};

// INVALID_ARGUMENT naming the first field that is out of range.
absl::Status ValidateRope(const Rope& rope, uint32_t head_dim);
absl::Status ValidateBlockSpec(const BlockSpec& spec);

}  // namespace polarkv

#endif  // POLARKV_CODEC_BLOCK_SPEC_H_
