// What a block is, apart from its payload: the decoded form of the header's fields.
#ifndef POLARKV_CODEC_BLOCK_SPEC_H_
#define POLARKV_CODEC_BLOCK_SPEC_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "codec/block_format.h"
#include "codec/codec_id.h"

namespace polarkv {

inline constexpr std::array<uint32_t, 6> kHeadDims = {64, 80, 96, 128, 192, 256};
bool IsKnownHeadDim(uint32_t head_dim);
inline bool PairRotates(CodecPair pair) { return TraitsOf(pair.k).rotates || TraitsOf(pair.v).rotates; }
// Size of one Hadamard block: the largest power of two that divides head_dim.
uint16_t RotationBlock(uint32_t head_dim);

// What a key-mean profile is known by (key_mean_profile.h); zero: none.
using ProfileDigest = std::array<uint8_t, 16>;

struct Rope {
  RopePairing pairing = RopePairing::kNone;
  float base = 0;     // theta; 0 without RoPE
  uint16_t dims = 0;  // leading coordinates that are rotated, even; 0 without RoPE
  friend bool operator==(const Rope&, const Rope&) = default;
};

// What a layer may have of its own.
struct LayerPart {
  CodecPair codec;
  bool key_mean = false;  // keys are stored without their head's mean, which RoPE turns to each token's position
  uint32_t escapes = 0;   // keys and values that are stored raw; tokens * kv_heads at most for each codec with scales
  friend bool operator==(const LayerPart&, const LayerPart&) = default;
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
  // The key-mean profile that has the means which keys are stored without; zero: the block itself has them.
  ProfileDigest profile_digest{};
  std::array<uint8_t, 16> namespace_tag{};
  std::array<uint8_t, 8> key_tag{};
  // One for each layer; empty: all layers have `codec`, no key means and no escapes. Read back empty in that case.
  std::vector<LayerPart> layer_parts;
  // RoPE's angle per position for each pair of coordinates, in turns times 2^64: pair j of a token at position n is turned
  // by n * phases[j] mod 2^64. Stored if RoPE is on, a layer has key means and there is no profile; then there are
  // rope.dims / 2. Otherwise not stored: read back as the profile's by a view that has it, else empty.
  std::vector<uint64_t> phases;

  static constexpr uint64_t kDefaultRotationSeed = 0x706F6C61726B7631;  // "polarkv1"
  uint32_t tiles() const { return (tokens + kTileTokens - 1) / kTileTokens; }
  LayerPart layer_part(uint32_t layer) const { return layer_parts.empty() ? LayerPart{codec} : layer_parts[layer]; }
  bool HasLayerTable() const;   // some layer differs from {codec, no key means, no escapes}
  bool HasProfile() const { return profile_digest != ProfileDigest{}; }
  bool HasPhaseTable() const;   // RoPE is on, some layer has key means, and no profile says by what to turn them
  bool Rotates() const;         // some codec of it does
  friend bool operator==(const BlockSpec&, const BlockSpec&) = default;
};

// INVALID_ARGUMENT naming the first field that is out of range.
absl::Status ValidateRope(const Rope& rope, uint32_t head_dim);
absl::Status ValidateBlockSpec(const BlockSpec& spec);
// Both are parts of ValidateBlockSpec: what a header says alone, and what the extension adds.
absl::Status ValidateBlockFields(const BlockSpec& spec);
absl::Status ValidateLayerParts(const BlockSpec& spec);

}  // namespace polarkv

#endif  // POLARKV_CODEC_BLOCK_SPEC_H_
