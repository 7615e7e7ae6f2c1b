#include "client/backoff.h"

#include <algorithm>
#include <random>

namespace polarkv {
namespace {

// Seeded by thread, so that workers which lost the same server do not come back in step.
double UniformHalfToOne() {
  thread_local std::minstd_rand engine(std::random_device{}());
  return std::uniform_real_distribution<double>(0.5, 1.0)(engine);
}

}  // namespace

bool IsTransient(const absl::Status& status) {
  // The client never cancels a call whose status it goes on to read: CANCELLED is a server that ended its streams.
  return absl::IsUnavailable(status) || absl::IsCancelled(status);
}

std::optional<std::chrono::nanoseconds> Backoff::NextDelay(std::chrono::nanoseconds remaining) {
  auto delay = std::chrono::duration_cast<std::chrono::nanoseconds>(next_ * UniformHalfToOne());
  next_ = std::min(next_ * 2, max_);
  if (delay < remaining) return delay;
  if (last_chance_taken_ || remaining.count() == 0) return std::nullopt;
  last_chance_taken_ = true;
  return remaining / 2;
}

}  // namespace polarkv
