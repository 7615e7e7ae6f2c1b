// What a run counts. One tally a worker, merged for reports.
#ifndef POLARKV_CLIENT_LOAD_TALLY_H_
#define POLARKV_CLIENT_LOAD_TALLY_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "client/load/latency_histogram.h"
#include "kernels/device_kernels.h"

namespace polarkv::load {

using Counts = std::map<std::string, uint64_t>;

// One rpc of the cache. `from_intended` adds the delay of the request's start against its schedule, so that a stalled
// cache or a tester that cannot keep up shows in every request it held back, not only in those that were in flight;
// `service` is the call alone.
struct OperationTally {
  uint64_t calls = 0;
  uint64_t failed_calls = 0;  // a status other than OK
  LatencyHistogram from_intended;
  LatencyHistogram service;

  void Record(std::chrono::nanoseconds service_time, std::chrono::nanoseconds start_delay);
  void Merge(const OperationTally& other);
};

struct AttentionTally {
  uint64_t prefixes = 0;
  uint64_t tokens = 0;
  uint64_t checked = 0;
  double worst_kernel_error = 0;
  double compression_error_sum = 0;  // over checked prefixes
  LatencyHistogram time;
  DeviceUse device;  // calls are layers of windows

  void Merge(const AttentionTally& other);
};

struct Tally {
  uint64_t requests = 0;          // finished, well or not
  uint64_t prompt_tokens = 0;     // as the workload states them
  uint64_t block_references = 0;  // blocks of the prompts, partial last ones included
  uint64_t full_blocks = 0;
  uint64_t ideal_blocks = 0;             // an unbounded cache would have served these
  uint64_t hit_blocks = 0;               // served from the cache and right
  uint64_t hit_blocks_beyond_ideal = 0;  // stored by an earlier run, or by a later request that overtook this one

  uint64_t fetched_blocks = 0, fetched_bytes = 0;
  uint64_t stored_blocks = 0, stored_bytes = 0;  // acknowledged as stored; duplicates are not
  Counts miss_blocks;                            // reason -> full blocks not served
  Counts match_stops;                            // server's stop reason -> requests
  Counts store_outcomes;                         // outcome -> blocks
  Counts fetch_outcomes;                         // outcome -> blocks
  Counts errors;                                 // "match UNAVAILABLE" -> calls, "stored block: no space" -> blocks
  Counts verification_failures;                  // kind -> blocks or prefixes

  OperationTally match, fetch, store;
  LatencyHistogram start_delay;   // actual minus intended start
  LatencyHistogram prefix_ready;  // from the intended start until the prefix is here: what a worker waits for
  LatencyHistogram first_token_cached, first_token_uncached;  // estimates
  AttentionTally attention;

  void Merge(const Tally& other);
  uint64_t TotalVerificationFailures() const;
  uint64_t TotalErrors() const;
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_TALLY_H_
