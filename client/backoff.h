// Exponential backoff with jitter between the attempts of one call.
#ifndef POLARKV_CLIENT_BACKOFF_H_
#define POLARKV_CLIENT_BACKOFF_H_

#include <chrono>
#include <optional>

#include "absl/status/status.h"

namespace polarkv {

// Worth another attempt: the node was not reachable, went away, or is shutting down.
bool IsTransient(const absl::Status& status);

// Not thread-safe; one for each call.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds initial, std::chrono::milliseconds max) : next_(initial), max_(max) {}

  // How long to wait before the next attempt: half to all of a delay that doubles up to the maximum. Where that would
  // outlast the deadline, half of what is left, once. Nothing: no time for another attempt.
  std::optional<std::chrono::nanoseconds> NextDelay(std::chrono::nanoseconds remaining);

 private:
  std::chrono::nanoseconds next_;
  std::chrono::nanoseconds max_;
  bool last_chance_taken_ = false;
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_BACKOFF_H_
