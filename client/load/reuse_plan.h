// What an unbounded cache would serve: for every request the longest prefix of full blocks that earlier requests of the
// workload hold, and which of them are first to hold it.
#ifndef POLARKV_CLIENT_LOAD_REUSE_PLAN_H_
#define POLARKV_CLIENT_LOAD_REUSE_PLAN_H_

#include <cstdint>
#include <span>
#include <vector>

#include "client/load/prompt_keys.h"
#include "client/load/workload.h"

namespace polarkv::load {

// The reusable blocks before `end_block` (and after the end of the provider before it) come from `request`.
struct BlockProvider {
  uint32_t request = 0;
  uint32_t end_block = 0;
  friend bool operator==(const BlockProvider&, const BlockProvider&) = default;
};

struct RequestReuse {
  uint32_t full_blocks = 0;
  uint32_t reusable_blocks = 0;          // at the front of the prompt
  std::vector<BlockProvider> providers;  // ascending by end_block; the last one's end is reusable_blocks
};

class ReusePlan {
 public:
  // Requests are taken in order, each complete before the next one starts.
  ReusePlan(const Workload& workload, const PromptKeys& keys);
  const RequestReuse& operator[](size_t request) const { return reuse_[request]; }
  size_t size() const { return reuse_.size(); }

  uint64_t block_references() const { return block_references_; }  // with the partial last block of each prompt
  uint64_t full_blocks() const { return full_blocks_; }
  uint64_t reusable_blocks() const { return reusable_blocks_; }
  uint64_t distinct_blocks() const { return distinct_blocks_; }

 private:
  std::vector<RequestReuse> reuse_;
  uint64_t block_references_ = 0, full_blocks_ = 0, reusable_blocks_ = 0, distinct_blocks_ = 0;
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_REUSE_PLAN_H_
