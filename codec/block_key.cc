#include "codec/block_key.h"

#include "absl/strings/str_cat.h"
#include "codec/canonical_bytes.h"

namespace polarkv {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string BlockKey::ToHex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (const uint8_t byte : bytes) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

absl::StatusOr<BlockKey> BlockKey::FromHex(std::string_view hex) {
  BlockKey key;
  if (hex.size() != 2 * key.bytes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a block key has 64 hexadecimal digits, this text has ", hex.size(), " characters"));
  }
  for (size_t i = 0; i < hex.size(); ++i) {
    const int digit = HexDigit(hex[i]);
    if (digit < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("a block key has 64 hexadecimal digits, character ", i, " is none"));
    }
    key.bytes[i / 2] = static_cast<uint8_t>(key.bytes[i / 2] << 4 | digit);
  }
  return key;
}

PrefixKeyChain::PrefixKeyChain(const Fingerprint& fingerprint, std::string_view salt) {
  current_.bytes = CanonicalBytes("polarkv.chain.1").Raw(fingerprint).Text(salt).Sha256();
}

BlockKey PrefixKeyChain::Next(std::span<const int32_t> tokens, std::string_view extra) {
  CanonicalBytes bytes("polarkv.block.1");
  bytes.Reserve(48 + tokens.size_bytes() + extra.size());
  bytes.Raw(current_.bytes).Integer(uint64_t{tokens.size()});
  for (const int32_t token : tokens) bytes.Integer(static_cast<uint32_t>(token));
  current_.bytes = bytes.Text(extra).Sha256();
  return current_;
}

std::vector<BlockKey> PrefixKeys(const Fingerprint& fingerprint, std::string_view salt, std::span<const int32_t> tokens,
                                 uint32_t block_tokens) {
  std::vector<BlockKey> keys;
  if (block_tokens == 0) return keys;
  PrefixKeyChain chain(fingerprint, salt);
  keys.reserve(tokens.size() / block_tokens);
  for (; tokens.size() >= block_tokens; tokens = tokens.subspan(block_tokens)) {
    keys.push_back(chain.Next(tokens.first(block_tokens)));
  }
  return keys;
}

BlockKey ShardKey(const BlockKey& chain_key, uint32_t shard, uint32_t shards) {
  if (shards <= 1) return chain_key;
  BlockKey key;
  key.bytes = CanonicalBytes("polarkv.shard.1").Raw(chain_key.bytes).Integer(shard).Integer(shards).Sha256();
  return key;
}

}  // namespace polarkv
