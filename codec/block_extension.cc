#include "codec/block_extension.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "codec/block_header.h"

namespace polarkv {
namespace {

absl::Status ParseLayerEntry(const LayerEntry& entry, uint32_t layer, LayerPart& part) {
  const std::string prefix = absl::StrCat("layer ", layer, ": ");
  if (absl::Status s = CheckKnownCodecs(entry.k_codec, entry.v_codec, prefix); !s.ok()) return s;
  if (const int unknown = entry.flags & ~kLayerKeyMean; unknown != 0) {
    return Unsupported(absl::StrFormat("%slayer flags 0x%02x are not known to this build", prefix, unknown));
  }
  if (entry.reserved0 != 0 || entry.reserved1 != 0) {
    return Damaged(absl::StrCat(prefix, "reserved bytes of the layer table are not zero"));
  }
  part.codec = {static_cast<CodecId>(entry.k_codec), static_cast<CodecId>(entry.v_codec)};
  part.key_mean = (entry.flags & kLayerKeyMean) != 0;
  part.escapes = entry.escapes;
  return absl::OkStatus();
}

}  // namespace

void EncodeExtension(const BlockSpec& spec, std::span<uint8_t> extension) {
  std::ranges::fill(extension, uint8_t{0});
  uint8_t* out = extension.data();
  if (spec.HasLayerTable()) {
    for (const LayerPart& part : spec.layer_parts) {
      LayerEntry entry{};
      entry.k_codec = static_cast<uint8_t>(part.codec.k);
      entry.v_codec = static_cast<uint8_t>(part.codec.v);
      entry.flags = part.key_mean ? kLayerKeyMean : uint8_t{0};
      entry.escapes = part.escapes;
      std::memcpy(out, &entry, sizeof entry);
      out += sizeof entry;
    }
  }
  if (spec.HasPhaseTable()) std::memcpy(out, spec.phases.data(), spec.phases.size() * sizeof(uint64_t));
}

absl::Status ParseExtension(std::span<const uint8_t> extension, uint16_t features, BlockSpec& spec) {
  if ((features & kFeatureLayerTable) == 0) return absl::OkStatus();
  const uint8_t* in = extension.data();
  spec.layer_parts.resize(spec.layers);
  for (uint32_t layer = 0; layer < spec.layers; ++layer, in += sizeof(LayerEntry)) {
    LayerEntry entry;
    std::memcpy(&entry, in, sizeof entry);
    if (absl::Status s = ParseLayerEntry(entry, layer, spec.layer_parts[layer]); !s.ok()) return s;
  }
  const bool has_phases = (features & kFeaturePhaseTable) != 0;
  if (has_phases) {
    spec.phases.resize(spec.rope.dims / 2);
    std::memcpy(spec.phases.data(), in, spec.phases.size() * sizeof(uint64_t));
    in += spec.phases.size() * sizeof(uint64_t);
  }
  if (!spec.HasLayerTable()) return Damaged("the layer table repeats the header for every layer");
  if (has_phases != spec.HasPhaseTable()) {
    return Damaged(has_phases ? "a phase table without key means" : "key means under RoPE without a phase table");
  }
  if (absl::Status s = ValidateLayerParts(spec); !s.ok()) return Damaged(s.message());
  if (std::any_of(in, extension.data() + extension.size(), [](uint8_t byte) { return byte != 0; })) {
    return Damaged("padding after the extension's tables is not zero");
  }
  return absl::OkStatus();
}

}  // namespace polarkv
