#include "codec/block_spec.h"

#include <algorithm>
#include <bit>
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

absl::Status CheckCodecs(CodecPair codec, absl::string_view prefix) {
  for (const auto& [field, id] : {std::pair{"k_codec", codec.k}, std::pair{"v_codec", codec.v}}) {
    const uint8_t number = static_cast<uint8_t>(id);
    if (!IsKnownCodec(number)) return OutOfRange(absl::StrCat(prefix, field), absl::StrCat(number), "the codec ids of FORMAT.md");
  }
  if (TraitsOf(codec.v).keys_only) {
    const std::string_view name = CodecName(codec.v);
    return OutOfRange(absl::StrCat(prefix, "v_codec"), absl::string_view(name.data(), name.size()),
                      "codecs that are not for keys only");
  }
  return absl::OkStatus();
}

absl::Status CheckLayerPart(const BlockSpec& spec, uint32_t layer) {
  const LayerPart& part = spec.layer_parts[layer];
  const std::string prefix = absl::StrCat("layer ", layer, ": ");
  if (absl::Status s = CheckCodecs(part.codec, prefix); !s.ok()) return s;
  const bool k_scales = TraitsOf(part.codec.k).has_scales, v_scales = TraitsOf(part.codec.v).has_scales;
  if (part.key_mean && !k_scales) {
    return OutOfRange(absl::StrCat(prefix, "key_mean"), "set", "only with a k_codec that has scales");
  }
  const uint64_t places = uint64_t{spec.kv_heads} * spec.tokens * ((k_scales ? 1 : 0) + (v_scales ? 1 : 0));
  if (part.escapes > places) {
    return OutOfRange(absl::StrCat(prefix, "escapes"), absl::StrCat(part.escapes),
                      absl::StrCat("0 to ", places, ", the layer's keys and values of codecs with scales"));
  }
  return absl::OkStatus();
}

}  // namespace

bool BlockSpec::HasLayerTable() const {
  return std::ranges::any_of(layer_parts, [this](const LayerPart& part) { return part != LayerPart{codec}; });
}

bool BlockSpec::HasPhaseTable() const {
  return rope.pairing != RopePairing::kNone && !HasProfile() &&
         std::ranges::any_of(layer_parts, &LayerPart::key_mean);
}

bool BlockSpec::Rotates() const {
  return PairRotates(codec) ||
         std::ranges::any_of(layer_parts, [](const LayerPart& part) { return PairRotates(part.codec); });
}

bool IsKnownHeadDim(uint32_t head_dim) { return std::ranges::find(kHeadDims, head_dim) != kHeadDims.end(); }

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

absl::Status ValidateBlockFields(const BlockSpec& spec) {
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
  if (absl::Status s = CheckCodecs(spec.codec, ""); !s.ok()) return s;
  if (spec.source_dtype < Dtype::kF16 || spec.source_dtype > Dtype::kF32) {
    return OutOfRange("source_dtype", absl::StrCat(static_cast<int>(spec.source_dtype)), "1 F16, 2 BF16, 3 F32");
  }
  return ValidateRope(spec.rope, spec.head_dim);
}

absl::Status ValidateLayerParts(const BlockSpec& spec) {
  if (spec.layer_parts.empty()) return absl::OkStatus();
  if (spec.layer_parts.size() != spec.layers) {
    return OutOfRange("number of layer_parts", absl::StrCat(spec.layer_parts.size()),
                      absl::StrCat("0 or layers (", spec.layers, ")"));
  }
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    if (absl::Status s = CheckLayerPart(spec, layer); !s.ok()) return s;
  }
  const uint32_t pairs = spec.rope.dims / 2;
  if (spec.HasPhaseTable() && spec.phases.size() != pairs) {
    return OutOfRange("number of phases", absl::StrCat(spec.phases.size()),
                      absl::StrCat("rope_dims / 2 (", pairs, ") with key means under RoPE"));
  }
  return absl::OkStatus();
}

absl::Status ValidateBlockSpec(const BlockSpec& spec) {
  if (absl::Status s = ValidateBlockFields(spec); !s.ok()) return s;
  return ValidateLayerParts(spec);
}

}  // namespace polarkv
