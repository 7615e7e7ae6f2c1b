#include "client/load/prompt_keys.h"

#include <utility>

#include "client/load/mixing.h"

namespace polarkv::load {

int32_t TokenId(uint64_t content, uint32_t index) {
  return static_cast<int32_t>(StreamWord(Mix(content + kGolden), index) >> 33);
}

uint64_t StoreTokens(const Request& request) {
  uint64_t tokens = 0;
  for (const Segment& segment : request.prompt) tokens += segment.tokens;
  return tokens;
}

uint64_t BlockReferences(const Request& request, uint32_t block_tokens) {
  return (StoreTokens(request) + block_tokens - 1) / block_tokens;
}

PromptKeys::PromptKeys(const Fingerprint& fingerprint, std::string salt, uint32_t block_tokens)
    : start_(fingerprint, salt), block_tokens_(block_tokens) {}

std::vector<BlockKey> PromptKeys::Keys(const Request& request) const {
  PrefixKeyChain chain = start_;
  std::vector<BlockKey> keys;
  keys.reserve(StoreTokens(request) / block_tokens_);
  std::vector<int32_t> block;
  block.reserve(block_tokens_);
  for (const Segment& segment : request.prompt) {
    for (uint32_t i = 0; i < segment.tokens; ++i) {
      block.push_back(TokenId(segment.content, i));
      if (block.size() < block_tokens_) continue;
      keys.push_back(chain.Next(block));
      block.clear();
    }
  }
  return keys;
}

}  // namespace polarkv::load
