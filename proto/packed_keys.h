// Keys and fingerprints as the wire carries them: 32 bytes each, back to back.
#ifndef POLARKV_PROTO_PACKED_KEYS_H_
#define POLARKV_PROTO_PACKED_KEYS_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_key.h"

namespace polarkv {

std::string PackKeys(std::span<const BlockKey> keys);
// INVALID_ARGUMENT: not a multiple of 32 bytes.
absl::StatusOr<std::vector<BlockKey>> UnpackKeys(std::string_view packed);

std::string PackKey(const BlockKey& key);
// INVALID_ARGUMENT: not 32 bytes. `field` is the name that the message gives.
absl::StatusOr<BlockKey> UnpackKey(std::string_view packed, std::string_view field);

std::string PackFingerprint(const Fingerprint& fingerprint);
// INVALID_ARGUMENT: not 32 bytes.
absl::StatusOr<Fingerprint> UnpackFingerprint(std::string_view packed);

}  // namespace polarkv

#endif  // POLARKV_PROTO_PACKED_KEYS_H_
