// The extension's two directions: what lies between header and directory. Internal to codec/.
#ifndef POLARKV_CODEC_BLOCK_EXTENSION_H_
#define POLARKV_CODEC_BLOCK_EXTENSION_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "codec/block_spec.h"

namespace polarkv {

// Fills the extension, of ExtensionBytes(spec), of a valid spec.
void EncodeExtension(const BlockSpec& spec, std::span<uint8_t> extension);
// Adds what the extension says to the spec of its header. `extension` has the length that the features need; its
// checksum has been verified. DATA_LOSS, FAILED_PRECONDITION as BlockView::Parse.
absl::Status ParseExtension(std::span<const uint8_t> extension, uint16_t features, BlockSpec& spec);

}  // namespace polarkv

#endif  // POLARKV_CODEC_BLOCK_EXTENSION_H_
