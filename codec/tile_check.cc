#include "codec/tile_check.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "codec/outlier_channels.h"

namespace polarkv {
namespace {

constexpr int16_t kFp16Infinity = 0x7C00;

// What a run of fp16 numbers has at most. Signed 16-bit maxima and unions are what baseline x86-64 vectorizes: this
// goes over every byte of fp16 blocks.
struct Fp16Extent {
  int16_t largest_magnitude = 0;
  int16_t all_bits = 0;  // negative if any number is
};

Fp16Extent ExtentOf(std::span<const uint8_t> fp16) {
  Fp16Extent extent;
  for (size_t i = 0; i + 2 <= fp16.size(); i += 2) {
    int16_t value;
    std::memcpy(&value, fp16.data() + i, sizeof value);
    extent.largest_magnitude = std::max(extent.largest_magnitude, static_cast<int16_t>(value & 0x7FFF));
    extent.all_bits = static_cast<int16_t>(extent.all_bits | value);
  }
  return extent;
}

bool AllFinite(std::span<const uint8_t> fp16) { return ExtentOf(fp16).largest_magnitude < kFp16Infinity; }
bool AllFiniteNonNegative(std::span<const uint8_t> fp16) {
  const Fp16Extent extent = ExtentOf(fp16);
  return extent.largest_magnitude < kFp16Infinity && extent.all_bits >= 0;
}
// polar<r><t>: of a pair's four parameters the first, an angle, may be any 16 bits; the others are fp16.
bool PolarParametersSane(std::span<const uint8_t> parameters) {
  bool sane = true;
  for (size_t pair = 0; pair < parameters.size(); pair += 8)
    sane &= AllFiniteNonNegative(parameters.subspan(pair + 2, 6));
  return sane;
}
bool AllZero(std::span<const uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

// Bits of the tokens from `tokens` on.
uint64_t PaddingMask(uint32_t tokens) { return tokens == kTileTokens ? 0 : ~uint64_t{0} << tokens; }

struct DefectNames {
  const char* exponent;
  const char* shift;
  const char* base;
  const char* unused_shift;
  const char* padding_scale;
  const char* unscaled_escape;
  const char* padding_escape;
  const char* escaped_scale;
  const char* value;
  const char* parameter;
  const char* group_radius;
  const char* payload_end;
};
constexpr DefectNames kKeyDefects = {"k_exponent out of range",
                                     "k_shift is above 5",
                                     "the K scales' base is out of range",
                                     "k_shift is not zero though the codec has no scales",
                                     "the K scale of a padding token is not zero",
                                     "a key is marked as escaped though the codec has no scales",
                                     "the key of a padding token is marked as escaped",
                                     "the K scale of an escaped token is not zero",
                                     "an fp16 K value is not finite",
                                     "a polar K step or radius is negative or not finite",
                                     "a radius of 16 K coordinates is negative or not finite",
                                     "K payload bytes after the codes are not zero"};
constexpr DefectNames kValueDefects = {"v_exponent out of range",
                                       "v_shift is above 5",
                                       "the V scales' base is out of range",
                                       "v_shift is not zero though the codec has no scales",
                                       "the V scale of a padding token is not zero",
                                       "a value is marked as escaped though the codec has no scales",
                                       "the value of a padding token is marked as escaped",
                                       "the V scale of an escaped token is not zero",
                                       "an fp16 V value is not finite",
                                       "a polar V step or radius is negative or not finite",
                                       "a radius of 16 V coordinates is negative or not finite",
                                       "V payload bytes after the codes are not zero"};

struct Side {
  CodecId codec;
  int exponent;
  int shift;
  uint64_t escapes;
  std::span<const uint8_t> scales;   // empty for codecs without scales
  std::span<const uint8_t> payload;  // in the base plane
};

bool ExponentInRange(int exponent) { return exponent >= kMinTileExponent && exponent <= kMaxTileExponent; }

const char* ScaledSideDefect(const Side& side, uint32_t head_dim, uint32_t tokens, const DefectNames& names) {
  if (side.shift > kMaxTileShift) return names.shift;
  if (!ScaleRangeInBounds(side.exponent, side.shift)) return names.base;
  if (!AllZero(side.scales.subspan(tokens))) return names.padding_scale;
  if ((side.escapes & PaddingMask(tokens)) != 0) return names.padding_escape;
  for (uint64_t rest = side.escapes; rest != 0; rest &= rest - 1) {
    if (side.scales[static_cast<size_t>(std::countr_zero(rest))] != 0) return names.escaped_scale;
  }
  if (HasOutlierChannels(side.codec)) return OutlierDefect(side.payload, head_dim, tokens, side.escapes);
  return nullptr;
}

const char* SideDefect(const Side& side, uint32_t head_dim, uint32_t tokens, const DefectNames& names) {
  if (!side.scales.empty()) return ScaledSideDefect(side, head_dim, tokens, names);
  if (!ExponentInRange(side.exponent)) return names.exponent;
  if (side.shift != 0) return names.unused_shift;
  if (side.escapes != 0) return names.unscaled_escape;
  if (side.codec == CodecId::kFp16 && !AllFinite(side.payload)) return names.value;
  if (IsPolarPair(side.codec) && !PolarParametersSane(side.payload.first(4 * head_dim))) return names.parameter;
  if (side.codec == CodecId::kPolarRecursive && !AllFiniteNonNegative(side.payload.first(8 * head_dim))) {
    return names.group_radius;
  }
  if (!AllZero(side.payload.subspan(CodeBytes(TraitsOf(side.codec), head_dim)))) return names.payload_end;
  return nullptr;
}

TileHead HeadOf(std::span<const uint8_t> tile) {
  TileHead head;
  std::memcpy(&head, tile.data(), sizeof head);
  return head;
}

uint32_t EscapesOf(const TileHead& head) {
  return static_cast<uint32_t>(std::popcount(head.k_escapes) + std::popcount(head.v_escapes));
}

}  // namespace

const char* TileDefect(const LayerLayout& layout, uint32_t head_dim, std::span<const uint8_t> tile, TileFacts facts) {
  const TileHead head = HeadOf(tile);
  const BaseTileLayout& at = layout.base_tile;
  if (head.tokens != facts.tokens) return "token count differs from the header's";
  if (!AllZero(head.reserved)) return "reserved tile bytes are not zero";
  const Side k = {layout.codec.k,
                  head.k_exponent,
                  head.k_shift,
                  head.k_escapes,
                  tile.subspan(at.k_scales, at.v_scales - at.k_scales),
                  tile.subspan(at.k_payload, at.v_payload - at.k_payload)};
  if (const char* defect = SideDefect(k, head_dim, facts.tokens, kKeyDefects)) return defect;
  const Side v = {layout.codec.v,
                  head.v_exponent,
                  head.v_shift,
                  head.v_escapes,
                  tile.subspan(at.v_scales, at.k_payload - at.v_scales),
                  tile.subspan(at.v_payload)};
  if (const char* defect = SideDefect(v, head_dim, facts.tokens, kValueDefects)) return defect;
  if (head.first_escape != facts.first_escape) return "first_escape is not the number of escapes before the tile";
  if (EscapesOf(head) > layout.escapes - facts.first_escape) return "more tokens are marked as escaped than have records";
  if (head.k_mean == 0) return nullptr;
  if (!layout.key_mean) return "a key is marked as lacking the mean in a layer without key means";
  if ((head.k_mean & PaddingMask(facts.tokens)) != 0) return "the key of a padding token is marked as lacking the mean";
  if ((head.k_mean & head.k_escapes) != 0) return "an escaped key is marked as lacking the mean";
  return nullptr;
}

const char* ResidualTileDefect(std::span<const uint8_t> base_tile, std::span<const uint8_t> tile, uint32_t tokens) {
  const std::span<const uint8_t> norms = tile.first(kResidualNormBytes);
  if (!AllFiniteNonNegative(norms)) return "a residual norm is negative or not finite";
  if (!AllZero(norms.subspan(2 * tokens))) return "the residual norm of a padding token is not zero";
  for (uint64_t rest = HeadOf(base_tile).k_escapes; rest != 0; rest &= rest - 1) {
    const auto token = static_cast<size_t>(std::countr_zero(rest));
    if (!AllZero(norms.subspan(2 * token, 2))) return "the residual norm of an escaped token is not zero";
  }
  return nullptr;
}

const char* VectorRecordDefect(std::span<const uint8_t> record) {
  VectorRecordHead head;
  std::memcpy(&head, record.data(), sizeof head);
  if (!ExponentInRange(head.exponent)) return "exponent out of range";
  if (!AllZero(head.reserved)) return "reserved bytes are not zero";
  if (!AllFinite(record.subspan(sizeof head))) return "a value is not finite";
  return nullptr;
}

uint32_t TileEscapes(std::span<const uint8_t> tile) { return EscapesOf(HeadOf(tile)); }

}  // namespace polarkv
