#include "client/cli/block_description.h"

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "client/cli/format_names.h"
#include "client/cli/text_format.h"
#include "codec/block_view.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

std::string Hex64(uint64_t value) {
  std::array<char, 17> text;
  std::snprintf(text.data(), text.size(), "%016" PRIx64, value);
  return text.data();
}

}  // namespace

nlohmann::ordered_json DescribeHeader(std::span<const uint8_t> block) {
  BlockHeader header;
  std::memcpy(&header, block.data(), sizeof(header));
  return {{"version", header.version},
          {"features", header.features},
          {"total_bytes", header.total_bytes},
          {"layers", header.layers},
          {"kv_heads", header.kv_heads},
          {"first_kv_head", header.first_kv_head},
          {"head_dim", header.head_dim},
          {"tokens", header.tokens},
          {"k_codec", std::string(CodecName(CodecId{header.k_codec}))},
          {"v_codec", std::string(CodecName(CodecId{header.v_codec}))},
          {"source_dtype", DtypeName(Dtype{header.source_dtype})},
          {"rope", RopePairingName(RopePairing{header.rope_pairing})},
          {"first_position", header.first_position},
          {"rope_base", header.rope_base},
          {"rope_dims", header.rope_dims},
          {"rotation", RotationKindName(RotationKind{header.rotation_kind})},
          {"planes", header.planes},
          {"rotation_seed", Hex64(header.rotation_seed)},
          {"rotation_block", header.rotation_block},
          {"codebook", header.codebook},
          {"extension_bytes", header.extension_bytes},
          {"profile_digest", HexText(header.profile_digest)},
          {"namespace_tag", HexText(header.namespace_tag)},
          {"key_tag", HexText(header.key_tag)},
          {"directory_xxh3", Hex64(header.directory_xxh3)},
          {"header_xxh3", Hex64(header.header_xxh3)}};
}

std::vector<Segment> DescribeDirectory(std::span<const uint8_t> block) {
  const absl::StatusOr<BlockView> view = BlockView::Parse(block, VerifyPayload::kNo);
  std::vector<Segment> segments;
  if (!view.ok()) return segments;
  const BlockLayout& layout = view->layout();
  for (uint32_t layer = 0; layer < layout.layers(); ++layer) {
    for (uint32_t plane = 0; plane < layout.planes(); ++plane) {
      const DirectoryEntry& entry = view->entry(layer, plane);
      segments.push_back({layer, PlaneKindName(layout.plane_kind(plane)),
                          uint64_t{entry.offset_units} * kSegmentAlignment, entry.length, Hex64(entry.xxh3)});
    }
  }
  return segments;
}

std::vector<OwnParts> LayersWithOwnParts(const BlockSpec& spec) {
  std::vector<OwnParts> layers;
  for (uint32_t layer = 0; layer < spec.layer_parts.size(); ++layer) {
    const LayerPart& part = spec.layer_parts[layer];
    if (part != LayerPart{spec.codec}) layers.push_back({layer, part});
  }
  return layers;
}

}  // namespace polarkv::cli
