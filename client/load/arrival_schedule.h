// When each request is meant to start.
#ifndef POLARKV_CLIENT_LOAD_ARRIVAL_SCHEDULE_H_
#define POLARKV_CLIENT_LOAD_ARRIVAL_SCHEDULE_H_

#include <chrono>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/workload.h"

namespace polarkv::load {

struct ArrivalOptions {
  double time_scale = 1;  // 10: ten times as fast as the workload
  double max_rate = 0;    // requests per second that the schedule does not exceed; 0: no limit
  // Requests start as soon as a worker is free. Nothing is "intended" then: latency is that of the calls alone.
  bool as_fast_as_possible = false;
};

// Intended starts after the first arrival, ascending, one a request; all zero when as fast as possible.
// INVALID_ARGUMENT: the time scale is not above 0, or the rate is negative.
absl::StatusOr<std::vector<std::chrono::nanoseconds>> IntendedStarts(const Workload& workload,
                                                                     const ArrivalOptions& options);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_ARRIVAL_SCHEDULE_H_
