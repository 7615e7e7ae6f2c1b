// Prefix-chain keys: a block's key names its tokens and everything before them (FORMAT.md, "Keys").
#ifndef POLARKV_CODEC_BLOCK_KEY_H_
#define POLARKV_CODEC_BLOCK_KEY_H_

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace polarkv {

using Fingerprint = std::array<uint8_t, 32>;  // SHA-256 of a namespace's canonical descriptor

struct BlockKey {
  std::array<uint8_t, 32> bytes{};
  friend auto operator<=>(const BlockKey&, const BlockKey&) = default;
  std::string ToHex() const;
  // INVALID_ARGUMENT unless 64 hexadecimal digits.
  static absl::StatusOr<BlockKey> FromHex(std::string_view hex);
  template <typename H>
  friend H AbslHashValue(H h, const BlockKey& key) {
    return H::combine(std::move(h), key.bytes);
  }
};

// h_0 = H(fingerprint, salt); h_i = H(h_{i-1}, token ids of block i, extra). Not thread-safe; cheap to copy.
class PrefixKeyChain {
 public:
  PrefixKeyChain(const Fingerprint& fingerprint, std::string_view salt);
  // Key of the next block. `extra`: whatever else decides the block's content (LoRA adapter, image digest), or empty.
  BlockKey Next(std::span<const int32_t> tokens, std::string_view extra = {});
  const BlockKey& current() const { return current_; }  // h_0 before the first Next

 private:
  BlockKey current_;
};

// Keys of all full blocks of `tokens`; the tokens after the last full block have none.
std::vector<BlockKey> PrefixKeys(const Fingerprint& fingerprint, std::string_view salt, std::span<const int32_t> tokens,
                                 uint32_t block_tokens);

// The key of one head-range shard of a block: the chain key itself when the namespace has one shard.
BlockKey ShardKey(const BlockKey& chain_key, uint32_t shard, uint32_t shards);

}  // namespace polarkv

#endif  // POLARKV_CODEC_BLOCK_KEY_H_
