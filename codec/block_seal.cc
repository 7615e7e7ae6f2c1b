// SealBlock and TagBlock: what a writer does after the segments' bytes are in place.
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "codec/block_extension.h"
#include "codec/block_header.h"
#include "codec/block_view.h"

namespace polarkv {

void SealBlock(const BlockSpec& spec, const BlockLayout& layout, std::span<uint8_t> bytes) {
  EncodeExtension(spec, bytes.subspan(sizeof(BlockHeader), layout.extension_bytes()));
  uint8_t* out = bytes.data() + layout.directory_offset();
  for (uint32_t layer = 0; layer < layout.layers(); ++layer) {
    for (uint32_t plane = 0; plane < layout.planes(); ++plane, out += sizeof(DirectoryEntry)) {
      const PlaneKind kind = layout.plane_kind(plane);
      const uint64_t offset = layout.SegmentOffset(layer, kind);
      const uint32_t length = layout.SegmentBytes(layer, kind);
      const DirectoryEntry entry = {static_cast<uint32_t>(offset / kSegmentAlignment), length,
                                    BlockChecksum(bytes.subspan(offset, length))};
      std::memcpy(out, &entry, sizeof entry);
    }
  }
  const std::span<const uint8_t> hashed(bytes.data() + sizeof(BlockHeader), out);
  std::fill(out, bytes.data() + layout.payload_offset(), uint8_t{0});
  const BlockHeader header = EncodeHeader(spec, layout, BlockChecksum(hashed));
  std::memcpy(bytes.data(), &header, sizeof header);
}

void TagBlock(std::span<uint8_t> bytes, std::span<const uint8_t, 16> namespace_tag,
              std::span<const uint8_t, 8> key_tag) {
  BlockHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::ranges::copy(namespace_tag, header.namespace_tag);
  std::ranges::copy(key_tag, header.key_tag);
  header.header_xxh3 = HeaderChecksum(header);
  std::memcpy(bytes.data(), &header, sizeof header);
}

}  // namespace polarkv
