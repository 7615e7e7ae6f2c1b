// From prompts to the keys of their full blocks.
#ifndef POLARKV_CLIENT_LOAD_PROMPT_KEYS_H_
#define POLARKV_CLIENT_LOAD_PROMPT_KEYS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "client/load/workload.h"
#include "codec/block_key.h"

namespace polarkv::load {

// Synthetic token id: token `index` of `content`, 0 .. 2^31-1.
int32_t TokenId(uint64_t content, uint32_t index);

uint64_t StoreTokens(const Request& request);
// Blocks of the prompt, the partial last one included.
uint64_t BlockReferences(const Request& request, uint32_t block_tokens);

// Thread-safe; immutable.
class PromptKeys {
 public:
  PromptKeys(const Fingerprint& fingerprint, std::string salt, uint32_t block_tokens);
  // One key a full block, in prompt order; the tokens after the last full block have none.
  std::vector<BlockKey> Keys(const Request& request) const;
  uint32_t block_tokens() const { return block_tokens_; }

 private:
  PrefixKeyChain start_;
  uint32_t block_tokens_;
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_PROMPT_KEYS_H_
