// The time that one client call has left, across all its attempts.
#ifndef POLARKV_CLIENT_CALL_DEADLINE_H_
#define POLARKV_CLIENT_CALL_DEADLINE_H_

#include <algorithm>
#include <chrono>

namespace polarkv {

class CallDeadline {
 public:
  // A budget over a day counts as a day; zero or less has expired at once.
  explicit CallDeadline(std::chrono::milliseconds budget)
      : end_(Clock::now() + std::clamp<std::chrono::milliseconds>(budget, std::chrono::milliseconds(0),
                                                                  std::chrono::hours(24))) {}

  // Never negative.
  std::chrono::nanoseconds Remaining() const { return std::max(Clock::duration(0), end_ - Clock::now()); }
  bool Expired() const { return Remaining().count() == 0; }

  // gRPC takes wall-clock times; made anew for each attempt, so that a step of the wall clock does no harm.
  std::chrono::system_clock::time_point ForGrpc() const { return std::chrono::system_clock::now() + Remaining(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point end_;
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_CALL_DEADLINE_H_
