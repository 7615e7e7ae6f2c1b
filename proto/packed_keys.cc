#include "proto/packed_keys.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

constexpr size_t kKeyBytes = sizeof(BlockKey::bytes);
static_assert(kKeyBytes == 32 && sizeof(Fingerprint) == 32);

std::array<uint8_t, 32> Bytes32(std::string_view packed) {
  std::array<uint8_t, 32> bytes;
  std::copy_n(packed.begin(), bytes.size(), bytes.begin());
  return bytes;
}

}  // namespace

std::string PackKeys(std::span<const BlockKey> keys) {
  std::string packed;
  packed.reserve(keys.size() * kKeyBytes);
  for (const BlockKey& key : keys) packed.append(key.bytes.begin(), key.bytes.end());
  return packed;
}

absl::StatusOr<std::vector<BlockKey>> UnpackKeys(std::string_view packed) {
  if (packed.size() % kKeyBytes != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("keys: ", packed.size(), " bytes are not a whole number of 32-byte keys"));
  }
  std::vector<BlockKey> keys(packed.size() / kKeyBytes);
  for (size_t i = 0; i < keys.size(); ++i) keys[i].bytes = Bytes32(packed.substr(i * kKeyBytes));
  return keys;
}

std::string PackKey(const BlockKey& key) { return std::string(key.bytes.begin(), key.bytes.end()); }

absl::StatusOr<BlockKey> UnpackKey(std::string_view packed, std::string_view field) {
  if (packed.size() != kKeyBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(absl::string_view(field.data(), field.size()), ": ", packed.size(), " bytes, a key has 32"));
  }
  BlockKey key;
  key.bytes = Bytes32(packed);
  return key;
}

std::string PackFingerprint(const Fingerprint& fingerprint) {
  return std::string(fingerprint.begin(), fingerprint.end());
}

absl::StatusOr<Fingerprint> UnpackFingerprint(std::string_view packed) {
  if (packed.size() != sizeof(Fingerprint)) {
    return absl::InvalidArgumentError(
        absl::StrCat("fingerprint: ", packed.size(), " bytes, a namespace fingerprint has 32"));
  }
  return Bytes32(packed);
}

}  // namespace polarkv
