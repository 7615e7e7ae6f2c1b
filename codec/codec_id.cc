#include "codec/codec_id.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

struct NamedCodec {
  CodecId id;
  std::string_view name;
};
constexpr std::array kCodecs = {CodecId::kFp16, CodecId::kTurbo2, CodecId::kTurbo3, CodecId::kTurbo4,
                                CodecId::kPolar44};
constexpr std::array<NamedCodec, kCodecs.size()> kNames = {{{CodecId::kFp16, "fp16"},
                                                            {CodecId::kTurbo2, "turbo2"},
                                                            {CodecId::kTurbo3, "turbo3"},
                                                            {CodecId::kTurbo4, "turbo4"},
                                                            {CodecId::kPolar44, "polar44"}}};

absl::string_view ForAbsl(std::string_view text) { return {text.data(), text.size()}; }

absl::Status UnknownCodec(std::string_view text) {
  std::string known;
  for (const NamedCodec& codec : kNames) absl::StrAppend(&known, known.empty() ? "" : ", ", ForAbsl(codec.name));
  return absl::InvalidArgumentError(
      absl::StrCat("unknown codec \"", ForAbsl(text), "\"; there are ", known, ", and pairs like k=polar44,v=turbo4"));
}

absl::StatusOr<CodecId> ParseCodec(std::string_view text) {
  for (const NamedCodec& codec : kNames) {
    if (codec.name == text) return codec.id;
  }
  return UnknownCodec(text);
}

}  // namespace

std::span<const CodecId> AllCodecs() { return kCodecs; }

bool IsKnownCodec(uint8_t id) { return std::ranges::find(kCodecs, static_cast<CodecId>(id)) != kCodecs.end(); }

std::string_view CodecName(CodecId id) {
  const auto* it = std::ranges::find(kNames, id, &NamedCodec::id);
  return it == kNames.end() ? std::string_view("unknown") : it->name;
}

absl::StatusOr<CodecPair> ParseCodecPair(std::string_view text) {
  const size_t comma = text.find(',');
  if (comma == std::string_view::npos) {
    absl::StatusOr<CodecId> both = ParseCodec(text);
    if (!both.ok()) return both.status();
    return CodecPair{*both, *both};
  }
  std::string_view k = text.substr(0, comma);
  std::string_view v = text.substr(comma + 1);
  if (k.starts_with("v=")) std::swap(k, v);
  if (!k.starts_with("k=") || !v.starts_with("v=")) return UnknownCodec(text);
  absl::StatusOr<CodecId> k_codec = ParseCodec(k.substr(2));
  if (!k_codec.ok()) return k_codec.status();
  absl::StatusOr<CodecId> v_codec = ParseCodec(v.substr(2));
  if (!v_codec.ok()) return v_codec.status();
  return CodecPair{*k_codec, *v_codec};
}

std::string CodecPairName(CodecPair pair) {
  if (pair.k == pair.v) return std::string(CodecName(pair.k));
  return absl::StrCat("k=", ForAbsl(CodecName(pair.k)), ",v=", ForAbsl(CodecName(pair.v)));
}

}  // namespace polarkv
