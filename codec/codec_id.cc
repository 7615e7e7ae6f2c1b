#include "codec/codec_id.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "codec/band_table.h"
#include "codec/outlier_channels.h"

namespace polarkv {
namespace {

using enum CodecKind;

constexpr bool kYes = true, kNo = false;
// id, kind, eighths of a bit, payload per dim, refine planes, residual plane, keys only, rotates, has scales
constexpr std::array kNamedTraits = {
    CodecTraits{CodecId::kFp16, kFp16, 128, 128, 0, kNo, kNo, kNo, kNo},
    CodecTraits{CodecId::kTurbo2, kTurbo, 16, 16, 0, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kTurbo3, kTurbo, 24, 16, 1, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kTurbo4, kTurbo, 32, 16, 2, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kTurbo1, kTurbo, 8, 8, 0, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kTurbo5, kTurbo, 40, 24, 2, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kTrellis1, kTrellis, 8, 8, 0, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kTrellis2, kTrellis, 16, 16, 0, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kTrellis3, kTrellis, 24, 24, 0, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kDeep1_5, kDeep, 12, 12, 0, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kDeep2, kDeep, 16, 16, 0, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kDeep2_5, kDeep, 20, 20, 0, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kDeep3, kDeep, 24, 24, 0, kNo, kNo, kYes, kYes},
    CodecTraits{CodecId::kPolarRecursive, kPolarRecursive, 31, 31, 0, kNo, kNo, kYes, kNo},
    CodecTraits{CodecId::kQjl1, kQjl, 8, 8, 0, kNo, kYes, kYes, kYes},
    CodecTraits{CodecId::kQjl2, kQjl, 16, 16, 0, kNo, kYes, kYes, kYes},
    CodecTraits{CodecId::kQjl4, kQjl, 32, 32, 0, kNo, kYes, kYes, kYes},
    CodecTraits{CodecId::kTurbo1Qjl, kTurboQjl, 16, 8, 0, kYes, kYes, kYes, kYes},
    CodecTraits{CodecId::kTurbo2Qjl, kTurboQjl, 24, 16, 0, kYes, kYes, kYes, kYes},
    CodecTraits{CodecId::kTurbo3Qjl, kTurboQjl, 32, 16, 1, kYes, kYes, kYes, kYes},
    CodecTraits{CodecId::kTurbo4Qjl, kTurboQjl, 40, 16, 2, kYes, kYes, kYes, kYes},
    CodecTraits{CodecId::kBand2, kBand, 16, 16, 0, kNo, kYes, kNo, kYes},
    CodecTraits{CodecId::kBand2_5, kBand, 20, 20, 0, kNo, kYes, kNo, kYes},
    CodecTraits{CodecId::kBand3, kBand, 24, 24, 0, kNo, kYes, kNo, kYes},
    CodecTraits{CodecId::kBand4, kBand, 32, 32, 0, kNo, kYes, kNo, kYes},
    CodecTraits{CodecId::kQjl1Outliers, kQjlOutliers, 12, 8, 0, kNo, kYes, kNo, kYes},
    CodecTraits{CodecId::kQjl2Outliers, kQjlOutliers, 24, 16, 0, kNo, kYes, kNo, kYes},
    CodecTraits{CodecId::kQjl4Outliers, kQjlOutliers, 48, 32, 0, kNo, kYes, kNo, kYes},
};
constexpr std::array<std::string_view, kNamedTraits.size()> kNames = {
    "fp16",  "turbo2", "turbo3", "turbo4", "turbo1", "turbo5", "trellis1", "trellis2", "trellis3", "deep1.5", "deep2",
    "deep2.5", "deep3", "polarR", "qjl1",  "qjl2",   "qjl4",   "turbo1q",  "turbo2q",  "turbo3q",  "turbo4q",
    "band2", "band2.5", "band3", "band4", "qjl1o", "qjl2o", "qjl4o"};

constexpr size_t kPolarCodecs = 28;  // r, t >= 1, r + t <= 8
constexpr size_t kCodecCount = kNamedTraits.size() + kPolarCodecs;
constexpr size_t kPolarNameLength = 7;

constexpr std::array<CodecTraits, kCodecCount> MakeTraits() {
  std::array<CodecTraits, kCodecCount> all{};
  size_t next = 0;
  for (const CodecTraits& traits : kNamedTraits) all[next++] = traits;
  for (uint32_t radius = 1; radius <= 7; ++radius) {
    for (uint32_t angle = 1; radius + angle <= 8; ++angle) {
      // Codes of a pair: r + t bits for 2 coordinates; four fp16 parameters a pair on top, 4 bytes a coordinate.
      const auto bits = static_cast<uint8_t>(radius + angle);
      all[next++] = {PolarCodec(radius, angle), kPolar, static_cast<uint8_t>(4 * bits), static_cast<uint8_t>(4 + 4 * bits),
                     0, kNo, kNo, kNo, kNo};
    }
  }
  return all;
}

constexpr std::array<CodecTraits, kCodecCount> kTraits = MakeTraits();

constexpr std::array<CodecId, kCodecCount> MakeIds() {
  std::array<CodecId, kCodecCount> ids{};
  for (size_t i = 0; i < kCodecCount; ++i) ids[i] = kTraits[i].id;
  return ids;
}
constexpr std::array<CodecId, kCodecCount> kIds = MakeIds();
static_assert(std::ranges::is_sorted(kIds));

constexpr auto MakePolarNames() {
  std::array<std::array<char, kPolarNameLength>, kPolarCodecs> names{};
  for (size_t i = 0; i < kPolarCodecs; ++i) {
    const CodecId id = kIds[kNamedTraits.size() + i];
    names[i] = {'p', 'o', 'l', 'a', 'r', static_cast<char>('0' + PolarRadiusBits(id)),
                static_cast<char>('0' + PolarAngleBits(id))};
  }
  return names;
}
constexpr auto kPolarNames = MakePolarNames();

// Position of each known id in kTraits, or kCodecCount.
constexpr std::array<uint8_t, 256> MakeIndex() {
  std::array<uint8_t, 256> index{};
  index.fill(kCodecCount);
  for (size_t i = 0; i < kCodecCount; ++i) index[static_cast<uint8_t>(kIds[i])] = static_cast<uint8_t>(i);
  return index;
}
constexpr std::array<uint8_t, 256> kIndex = MakeIndex();

constexpr std::array<CodecAlias, 5> kAliases = {{{"default", {CodecId::kTurbo4, CodecId::kTurbo4}},
                                                 {"compact", {CodecId::kTrellis3, CodecId::kTrellis3}},
                                                 {"small", {CodecId::kTrellis3, CodecId::kTrellis2}},
                                                 {"tiny", {CodecId::kTrellis2, CodecId::kTrellis1}},
                                                 {"archive", {CodecId::kDeep3, CodecId::kDeep2}}}};

absl::string_view ForAbsl(std::string_view text) { return {text.data(), text.size()}; }

absl::Status UnknownCodec(std::string_view text) {
  std::string known;
  for (const std::string_view name : kNames) absl::StrAppend(&known, ForAbsl(name), ", ");
  absl::StrAppend(&known, "polar<r><t> (r, t from 1, at most 8 in all), pairs like k=polar44,v=turbo4");
  for (const CodecAlias& alias : kAliases) {
    absl::StrAppend(&known, ", ", ForAbsl(alias.name), " (", CodecPairName(alias.codec), ")");
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown codec \"", ForAbsl(text), "\"; there are ", known));
}

absl::StatusOr<CodecId> ParseCodec(std::string_view text) {
  for (const CodecId id : kIds) {
    if (CodecName(id) == text) return id;
  }
  return UnknownCodec(text);
}

absl::StatusOr<CodecPair> CheckedPair(CodecId k, CodecId v) {
  if (TraitsOf(v).keys_only) {
    return absl::InvalidArgumentError(absl::StrCat("codec ", ForAbsl(CodecName(v)),
                                                   " is for keys only; choose one for values, as in k=",
                                                   ForAbsl(CodecName(k)), ",v=turbo4"));
  }
  return CodecPair{k, v};
}

}  // namespace

std::span<const CodecTraits> AllCodecTraits() { return kTraits; }

std::span<const CodecId> AllCodecs() { return kIds; }

bool IsKnownCodec(uint8_t id) { return kIndex[id] < kCodecCount; }

const CodecTraits& TraitsOf(CodecId id) { return kTraits[kIndex[static_cast<uint8_t>(id)]]; }

uint32_t CodeBytes(const CodecTraits& codec, uint32_t head_dim) {
  const uint32_t bytes = codec.payload_per_dim * head_dim;
  if (codec.kind == kQjlOutliers) return bytes + OutlierBytes(codec.payload_per_dim / 8);
  return codec.kind == kBand ? bytes / kBandBytesPerBit * kBandBytesPerBit : bytes;
}

uint32_t PayloadBytes(const CodecTraits& codec, uint32_t head_dim) {
  constexpr uint32_t kAlignment = 64;
  return (CodeBytes(codec, head_dim) + kAlignment - 1) / kAlignment * kAlignment;
}

std::string_view CodecName(CodecId id) {
  const size_t index = kIndex[static_cast<uint8_t>(id)];
  if (index >= kCodecCount) return "unknown";
  if (index < kNames.size()) return kNames[index];
  return {kPolarNames[index - kNames.size()].data(), kPolarNameLength};
}

std::span<const CodecAlias> CodecAliases() { return kAliases; }

absl::StatusOr<CodecPair> ParseCodecPair(std::string_view text) {
  const auto* alias = std::ranges::find(kAliases, text, &CodecAlias::name);
  if (alias != kAliases.end()) return alias->codec;
  const size_t comma = text.find(',');
  if (comma == std::string_view::npos) {
    absl::StatusOr<CodecId> both = ParseCodec(text);
    if (!both.ok()) return both.status();
    return CheckedPair(*both, *both);
  }
  std::string_view k = text.substr(0, comma);
  std::string_view v = text.substr(comma + 1);
  if (k.starts_with("v=")) std::swap(k, v);
  if (!k.starts_with("k=") || !v.starts_with("v=")) return UnknownCodec(text);
  absl::StatusOr<CodecId> k_codec = ParseCodec(k.substr(2));
  if (!k_codec.ok()) return k_codec.status();
  absl::StatusOr<CodecId> v_codec = ParseCodec(v.substr(2));
  if (!v_codec.ok()) return v_codec.status();
  return CheckedPair(*k_codec, *v_codec);
}

std::string CodecPairName(CodecPair pair) {
  if (pair.k == pair.v) return std::string(CodecName(pair.k));
  return absl::StrCat("k=", ForAbsl(CodecName(pair.k)), ",v=", ForAbsl(CodecName(pair.v)));
}

}  // namespace polarkv
