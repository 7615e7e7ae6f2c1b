#include "codec/tile_check.h"

#include <algorithm>
#include <cstring>

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
// polar44: of a pair's four parameters the first, an angle, may be any 16 bits; the others are fp16.
bool PolarParametersSane(std::span<const uint8_t> parameters) {
  bool sane = true;
  for (size_t pair = 0; pair < parameters.size(); pair += 8)
    sane &= AllFiniteNonNegative(parameters.subspan(pair + 2, 6));
  return sane;
}
bool AllZero(std::span<const uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

struct DefectNames {
  const char* exponent;
  const char* scale;
  const char* padding_scale;
  const char* value;
  const char* parameter;
};
constexpr DefectNames kKeyDefects = {"k_exponent out of range", "a K scale is negative or not finite",
                                     "the K scale of a padding token is not zero", "an fp16 K value is not finite",
                                     "a polar44 K step or radius is negative or not finite"};
constexpr DefectNames kValueDefects = {"v_exponent out of range", "a V scale is negative or not finite",
                                       "the V scale of a padding token is not zero", "an fp16 V value is not finite",
                                       "a polar44 V step or radius is negative or not finite"};

struct Side {
  CodecId codec;
  int exponent;
  std::span<const uint8_t> scales;   // empty for codecs without per-token scales
  std::span<const uint8_t> payload;  // in the base plane
};

const char* SideDefect(const Side& side, uint32_t head_dim, uint32_t tokens, const DefectNames& names) {
  if (side.exponent < kMinTileExponent || side.exponent > kMaxTileExponent) return names.exponent;
  if (!side.scales.empty()) {
    if (!AllFiniteNonNegative(side.scales)) return names.scale;
    if (!AllZero(side.scales.subspan(2 * tokens))) return names.padding_scale;
  }
  if (side.codec == CodecId::kFp16 && !AllFinite(side.payload)) return names.value;
  if (side.codec == CodecId::kPolar44 && !PolarParametersSane(side.payload.first(4 * head_dim))) return names.parameter;
  return nullptr;
}

}  // namespace

const char* TileDefect(const BlockSpec& spec, const BaseTileLayout& layout, std::span<const uint8_t> tile,
                       uint32_t tokens) {
  TileHead head;
  std::memcpy(&head, tile.data(), sizeof head);
  if (head.tokens != tokens) return "token count differs from the header's";
  if (!AllZero(head.reserved)) return "reserved tile bytes are not zero";
  const Side k = {spec.codec.k, head.k_exponent, tile.subspan(layout.k_scales, layout.v_scales - layout.k_scales),
                  tile.subspan(layout.k_payload, layout.v_payload - layout.k_payload)};
  if (const char* defect = SideDefect(k, spec.head_dim, tokens, kKeyDefects)) return defect;
  const Side v = {spec.codec.v, head.v_exponent, tile.subspan(layout.v_scales, layout.k_payload - layout.v_scales),
                  tile.subspan(layout.v_payload)};
  return SideDefect(v, spec.head_dim, tokens, kValueDefects);
}

}  // namespace polarkv
