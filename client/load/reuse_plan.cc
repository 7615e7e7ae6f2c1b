#include "client/load/reuse_plan.h"

#include <cstring>

#include "absl/container/flat_hash_map.h"

namespace polarkv::load {
namespace {

// Keys are SHA-256 output: eight bytes of them tell the blocks of any trace apart.
uint64_t ShortKey(const BlockKey& key) {
  uint64_t word;
  std::memcpy(&word, key.bytes.data(), sizeof(word));
  return word;
}

}  // namespace

ReusePlan::ReusePlan(const Workload& workload, const PromptKeys& keys) {
  absl::flat_hash_map<uint64_t, uint32_t> first_request;
  reuse_.reserve(workload.requests.size());
  for (uint32_t index = 0; index < workload.requests.size(); ++index) {
    const Request& request = workload.requests[index];
    const std::vector<BlockKey> chain = keys.Keys(request);
    RequestReuse reuse;
    reuse.full_blocks = static_cast<uint32_t>(chain.size());
    for (uint32_t block = 0; block < chain.size(); ++block) {
      const auto [found, inserted] = first_request.try_emplace(ShortKey(chain[block]), index);
      // A chain key names everything before it, so the first new block ends the prefix for good.
      if (inserted) continue;
      reuse.reusable_blocks = block + 1;
      if (reuse.providers.empty() || reuse.providers.back().request != found->second) {
        reuse.providers.push_back({found->second, 0});
      }
      reuse.providers.back().end_block = block + 1;
    }
    block_references_ += BlockReferences(request, keys.block_tokens());
    full_blocks_ += reuse.full_blocks;
    reusable_blocks_ += reuse.reusable_blocks;
    reuse_.push_back(std::move(reuse));
  }
  distinct_blocks_ = first_request.size();
}

}  // namespace polarkv::load
