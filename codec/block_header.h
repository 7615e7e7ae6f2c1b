// The header's two directions: spec -> bytes and bytes -> spec. Internal to codec/; readers use block_view.h.
#ifndef POLARKV_CODEC_BLOCK_HEADER_H_
#define POLARKV_CODEC_BLOCK_HEADER_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/block_layout.h"

namespace polarkv {

struct ParsedHeader {
  BlockHeader header;
  BlockSpec spec;  // without what the extension says: no layer parts, no phases
  bool HasLayerTable() const { return (header.features & kFeatureLayerTable) != 0; }
};

// The header of a block; `directory_xxh3` is the checksum of its extension and directory. The header's own checksum is
// filled in.
BlockHeader EncodeHeader(const BlockSpec& spec, const BlockLayout& layout, uint64_t directory_xxh3);
// Checks the first 128 bytes of a block alone: length, magic, checksum, what this build does not know, every range.
absl::StatusOr<ParsedHeader> ParseHeader(std::span<const uint8_t> bytes);
// Compares the fields that follow from others with a block's spec and layout: rotation, planes, total_bytes.
absl::Status CheckDerived(const BlockHeader& header, const BlockSpec& spec, const BlockLayout& layout);

uint64_t HeaderChecksum(const BlockHeader& header);
uint64_t BlockChecksum(std::span<const uint8_t> bytes);  // XXH3-64, seed 0

// DATA_LOSS: the bytes are not what an encoder wrote.
absl::Status Damaged(absl::string_view what);
// FAILED_PRECONDITION: the bytes are intact, but a newer writer made them.
absl::Status Unsupported(absl::string_view what);
// Whether a codec id of a header or a layer table is one that this build knows; `prefix` says where it is.
absl::Status CheckKnownCodecs(uint8_t k_codec, uint8_t v_codec, absl::string_view prefix);

}  // namespace polarkv

#endif  // POLARKV_CODEC_BLOCK_HEADER_H_
