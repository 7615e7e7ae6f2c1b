#include "codec/block_spec.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

absl::Status OutOfRange(absl::string_view field, absl::string_view value, absl::string_view range) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, "; valid: ", range));
}

absl::Status CheckCount(absl::string_view field, uint64_t value, uint64_t limit) {
  if (value >= 1 && value <= limit) return absl::OkStatus();
  return OutOfRange(field, absl::StrCat(value), absl::StrCat("1 to ", limit));
}

}  // namespace

bool IsKnownHeadDim(uint32_t head_dim) { return std::ranges::find(kHeadDims, head_dim) != kHeadDims.end(); }

bool CodecRotates(CodecId codec) {
  return codec == CodecId::kTurbo2 || codec == CodecId::kTurbo3 || codec == CodecId::kTurbo4;
}

uint16_t RotationBlock(uint32_t head_dim) { return static_cast<uint16_t>(head_dim & (~head_dim + 1)); }

absl::Status ValidateRope(const Rope& rope, uint32_t head_dim) {
  switch (rope.pairing) {
    case RopePairing::kNone:
      // All bits zero, so that a spec has one encoding: -0.0 is not 0 here.
      if (std::bit_cast<uint32_t>(rope.base) != 0)
        return OutOfRange("rope_base", absl::StrCat(rope.base), "0 without RoPE");
      if (rope.dims != 0) return OutOfRange("rope_dims", absl::StrCat(rope.dims), "0 without RoPE");
      return absl::OkStatus();
    case RopePairing::kHalf:
    case RopePairing::kInterleaved:
      if (!std::isfinite(rope.base) || rope.base <= 0) {
        return OutOfRange("rope_base", absl::StrCat(rope.base), "finite and above 0 with RoPE");
      }
      if (rope.dims < 2 || rope.dims > head_dim || rope.dims % 2 != 0) {
        return OutOfRange("rope_dims", absl::StrCat(rope.dims), absl::StrCat("even, 2 to head_dim (", head_dim, ")"));
      }
      return absl::OkStatus();
  }
  return OutOfRange("rope_pairing", absl::StrCat(static_cast<int>(rope.pairing)), "0 none, 1 half, 2 interleaved");
}

absl::Status ValidateBlockSpec(const BlockSpec& spec) {
  if (absl::Status s = CheckCount("layers", spec.layers, kMaxLayers); !s.ok()) return s;
  if (absl::Status s = CheckCount("kv_heads", spec.kv_heads, kMaxKvHeads); !s.ok()) return s;
  if (uint32_t{spec.first_kv_head} + spec.kv_heads > kMaxKvHeads) {
    return OutOfRange("first_kv_head", absl::StrCat(spec.first_kv_head),
                      absl::StrCat("0 to ", kMaxKvHeads, " - kv_heads (", spec.kv_heads, ")"));
  }
  if (!IsKnownHeadDim(spec.head_dim)) {
    return OutOfRange("head_dim", absl::StrCat(spec.head_dim), "64, 80, 96, 128, 192, 256");
  }
  if (absl::Status s = CheckCount("tokens", spec.tokens, kMaxBlockTokens); !s.ok()) return s;
  if (spec.first_position > kMaxPosition - spec.tokens) {
    return OutOfRange("first_position", absl::StrCat(spec.first_position),
                      absl::StrCat("0 to 2^53 - tokens (", spec.tokens, ")"));
  }
  for (const auto& [field, codec] : {std::pair{"k_codec", spec.codec.k}, std::pair{"v_codec", spec.codec.v}}) {
    const uint8_t id = static_cast<uint8_t>(codec);
    if (!IsKnownCodec(id)) return OutOfRange(field, absl::StrCat(id), "the codec ids of FORMAT.md");
  }
  if (spec.source_dtype < Dtype::kF16 || spec.source_dtype > Dtype::kF32) {
    return OutOfRange("source_dtype", absl::StrCat(static_cast<int>(spec.source_dtype)), "1 F16, 2 BF16, 3 F32");
  }
  if (spec.profile_digest != decltype(spec.profile_digest){}) {
    return absl::InvalidArgumentError("profile_digest is set; valid: all zero, version 1 has no profiles");
  }
  return ValidateRope(spec.rope, spec.head_dim);
}

}  // namespace polarkv
