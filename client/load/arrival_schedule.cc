#include "client/load/arrival_schedule.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace polarkv::load {

absl::StatusOr<std::vector<std::chrono::nanoseconds>> IntendedStarts(const Workload& workload,
                                                                     const ArrivalOptions& options) {
  if (!(options.time_scale > 0) || !std::isfinite(options.time_scale)) {
    return absl::InvalidArgumentError(absl::StrCat("the time scale must be above 0, not ", options.time_scale));
  }
  if (!(options.max_rate >= 0) || !std::isfinite(options.max_rate)) {
    return absl::InvalidArgumentError(absl::StrCat("the rate must not be negative, but is ", options.max_rate));
  }
  std::vector<std::chrono::nanoseconds> starts(workload.requests.size(), std::chrono::nanoseconds{0});
  if (options.as_fast_as_possible || workload.requests.empty()) return starts;
  const double gap = options.max_rate > 0 ? 1 / options.max_rate : 0;
  const double first = workload.requests.front().arrival_s;
  double previous = -gap;
  for (size_t i = 0; i < starts.size(); ++i) {
    const double start = std::max((workload.requests[i].arrival_s - first) / options.time_scale, previous + gap);
    starts[i] = std::chrono::round<std::chrono::nanoseconds>(std::chrono::duration<double>(start));
    previous = start;
  }
  return starts;
}

}  // namespace polarkv::load
