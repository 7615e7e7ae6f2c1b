// Defects of the extension, and of what a header says about it.
#include <cstring>

#include "tests/codec/block_defects.h"
#include "tests/codec/test_block.h"

namespace polarkv::testing {
namespace {

constexpr absl::StatusCode kDamaged = absl::StatusCode::kDataLoss;
constexpr absl::StatusCode kUnsupported = absl::StatusCode::kFailedPrecondition;

BlockDefect InHeader(std::string name, const std::string& message, std::function<void(BlockHeader&)> change) {
  return HeaderDefect(std::move(name), kDamaged, "damaged block: " + message, std::move(change), LayeredDefectSpec());
}

// A good block with another layer table of its only layer, sealed again.
BlockDefect InEntry(std::string name, absl::StatusCode code, std::string message,
                    std::function<void(LayerEntry&)> change, const BlockSpec& spec = LayeredDefectSpec()) {
  message = (code == kDamaged ? "damaged block: " : "unsupported block: ") + message;
  return {std::move(name), DefectPlace::kPrefix, code, std::move(message), [change, spec] {
            BlockBytes block = MakeBlock(spec);
            LayerEntry entry;
            std::memcpy(&entry, block.data() + sizeof(BlockHeader), sizeof entry);
            change(entry);
            std::memcpy(block.data() + sizeof(BlockHeader), &entry, sizeof entry);
            ResealDirectory(block);
            return block;
          }};
}

void AddEntries(std::vector<BlockDefect>& all) {
  const auto add = [&all](std::string name, absl::StatusCode code, std::string message,
                          std::function<void(LayerEntry&)> change) {
    all.push_back(InEntry(std::move(name), code, std::move(message), std::move(change)));
  };
  add("layer-k-codec", kUnsupported, "layer 0: k_codec 7 is not known to this build",
      [](LayerEntry& e) { e.k_codec = 7; });
  add("layer-v-codec", kUnsupported, "layer 0: v_codec 0 is not known to this build",
      [](LayerEntry& e) { e.v_codec = 0; });
  add("layer-flags", kUnsupported, "layer 0: layer flags 0x02 are not known to this build",
      [](LayerEntry& e) { e.flags |= 2; });
  add("layer-reserved", kDamaged, "layer 0: reserved bytes of the layer table are not zero",
      [](LayerEntry& e) { e.reserved1 = 1; });
  add("layer-keys-only-codec", kDamaged, "layer 0: v_codec is turbo1q; valid: codecs that are not for keys only",
      [](LayerEntry& e) { e.v_codec = static_cast<uint8_t>(CodecId::kTurbo1Qjl); });
  add("layer-table-empty", kDamaged, "the layer table repeats the header for every layer", [](LayerEntry& e) {
    e.flags = 0;
    e.escapes = 0;
  });
  add("phases-without-means", kDamaged, "a phase table without key means", [](LayerEntry& e) { e.flags = 0; });
  add("mean-without-scales", kDamaged, "layer 0: key_mean is set; valid: only with a k_codec that has scales",
      [](LayerEntry& e) { e.k_codec = static_cast<uint8_t>(CodecId::kFp16); });
  add("many-escapes", kDamaged,
      "layer 0: escapes is 13; valid: 0 to 12, the layer's keys and values of codecs with scales",
      [](LayerEntry& e) { e.escapes = 13; });
  add("layer-planes", kDamaged, "planes is 2, the codecs have 1",
      [](LayerEntry& e) { e.k_codec = static_cast<uint8_t>(CodecId::kTurbo2); });
  add("layer-total-bytes", kDamaged, "total_bytes is 3904, a block of this shape has 4032",
      [](LayerEntry& e) { e.escapes = 4; });
  BlockSpec without_phases = LayeredDefectSpec();
  without_phases.layer_parts[0].key_mean = false;
  all.push_back(InEntry(
      "means-without-phases", kDamaged, "key means under RoPE without a phase table",
      [](LayerEntry& e) { e.flags = kLayerKeyMean; }, without_phases));
}

}  // namespace

void AddExtensionDefects(std::vector<BlockDefect>& all) {
  all.push_back(InHeader("phases-without-rope", "a phase table without RoPE", [](BlockHeader& h) {
    h.rope_pairing = 0;
    h.rope_base = 0;
    h.rope_dims = 0;
  }));
  all.push_back(InHeader("phases-beside-profile", "a phase table beside a profile, which has its own", [](BlockHeader& h) {
    h.features |= kFeatureProfile;
    h.profile_digest[0] = 1;
  }));
  all.push_back(InHeader("extension-length", "extension_bytes is 256, this block's features need 320",
                         [](BlockHeader& h) { h.extension_bytes = 256; }));
  all.push_back(InHeader("many-planes", "planes is 7; valid: 1 to 6", [](BlockHeader& h) { h.planes = 7; }));
  all.push_back(InHeader("total-bytes-limit", "total_bytes is 1073741888; valid: up to 1073741824",
                         [](BlockHeader& h) { h.total_bytes = kMaxBlockBytes + 64; }));
  AddEntries(all);
  all.push_back({"extension-padding", DefectPlace::kPrefix, kDamaged,
                 "damaged block: padding after the extension's tables is not zero", [] {
                   BlockBytes block = MakeBlock(LayeredDefectSpec());
                   block[sizeof(BlockHeader) + 320 - 1] = 1;
                   ResealDirectory(block);
                   return block;
                 }});
  all.push_back({"cut-in-extension", DefectPlace::kPrefix, kDamaged,
                 "damaged block: cut off in the extension, 447 of 512 bytes", [] {
                   BlockBytes block = MakeBlock(LayeredDefectSpec());
                   block.resize(447);
                   return block;
                 }});
}

}  // namespace polarkv::testing
