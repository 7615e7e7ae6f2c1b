// Plays one request after the other against a cache: match, fetch, verify, attend, store what was missing.
#ifndef POLARKV_CLIENT_LOAD_REQUEST_RUNNER_H_
#define POLARKV_CLIENT_LOAD_REQUEST_RUNNER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "client/aligned_buffer.h"
#include "client/load/block_verifier.h"
#include "client/load/first_token_estimate.h"
#include "client/load/prefix_attention.h"
#include "client/load/prefix_cache.h"
#include "client/load/prompt_keys.h"
#include "client/load/reuse_plan.h"
#include "client/load/tally.h"
#include "client/load/workload.h"

namespace polarkv::load {

struct RunnerOptions {
  uint64_t block_bytes = 0;           // room for any full block of the namespace
  uint64_t window_bytes = 64 << 20;   // blocks are fetched and stored this much at a time, per worker; at least one
  double tokens_per_store_token = 1;  // Workload::tokens_per_store_token
  bool attend = false;
  uint32_t q_heads = 0;                  // of the attention
  DeviceChoice device = DeviceChoice::kCpu;  // of the attention; kCuda only where there is a device
  uint32_t check_attention_one_in = 50;  // of a worker's attended prefixes, the first one included; 0: none
  ComputeAssumptions compute;
};

// What the workers share. All of it outlives them.
struct RunnerContext {
  const PromptKeys* keys = nullptr;
  PrefixCache* cache = nullptr;
  BlockVerifier* verifier = nullptr;
  // Whether request `index` is finished: tells blocks that overlapping requests have yet to store from lost ones.
  std::function<bool(uint32_t)> finished;
  // Called with every verification failure, for people; from any thread.
  std::function<void(const absl::Status&)> on_failure;
};

// One a worker thread. Only snapshot() may be called from other threads.
class RequestRunner {
 public:
  using Nanoseconds = std::chrono::nanoseconds;

  RequestRunner(const RunnerContext& context, const RunnerOptions& options);
  // `draw`: the request's own randomness. `start_delay`: how long after the request's intended start this call comes.
  void Run(const Request& request, const RequestReuse& reuse, uint64_t draw, Nanoseconds start_delay);
  Tally snapshot() const;

 private:
  struct Prefix {
    std::vector<BlockKey> keys;  // of the whole prompt
    uint32_t matched = 0;
    uint32_t hit = 0;  // fetched and right, without a hole
    uint64_t lease = 0;
    std::string miss_reason;  // why block `hit` was not served, where it could have been
    Nanoseconds transfer{0};  // inside match and fetch
  };

  void MatchPrefix(const RequestReuse& reuse, Prefix& prefix);
  void FetchPrefix(uint64_t draw, Prefix& prefix);
  // Fetches and verifies keys [begin, end), advances prefix.hit; false when a block of them is not right.
  bool FetchWindow(Prefix& prefix, uint32_t begin, uint32_t end, Nanoseconds& service);
  // Whether a slot holds the right block; else sets the miss reason.
  bool Accept(const FetchSlot& slot, const absl::Status& fetched, Prefix& prefix);
  absl::Status AttendWindow(std::span<const FetchSlot> slots, std::span<const BlockKey> keys);
  void FinishAttention(const Prefix& prefix);
  void StoreMissing(const Prefix& prefix);
  // Encodes and stores keys [begin, end); false when the calls fail and the rest is better left.
  bool StoreWindow(const Prefix& prefix, uint32_t begin, uint32_t end, Nanoseconds& service);
  void CountRefusal(const StoreItem& item, StoreOutcome outcome);
  void CountRequest(const Request& request, const RequestReuse& reuse, const Prefix& prefix);
  void Fail(const char* kind, const absl::Status& status);
  void CountError(const char* call, const absl::Status& status);
  uint32_t WindowEnd(uint32_t begin, uint32_t end) const;

  // Changes the tally under its lock.
  template <typename Change>
  void Count(Change change) {
    const std::lock_guard lock(mutex_);
    change(tally_);
  }

  RunnerContext context_;
  RunnerOptions options_;
  AlignedBuffer buffer_;
  std::unique_ptr<DeviceKernels> kernels_;  // a worker's own, so that its layers follow each other
  PrefixAttention attention_;
  absl::Status attention_status_;
  Nanoseconds attention_time_{0};
  uint64_t attended_ = 0;
  Nanoseconds start_delay_{0};  // of the request that runs

  mutable std::mutex mutex_;
  Tally tally_;  // guarded by mutex_
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_REQUEST_RUNNER_H_
