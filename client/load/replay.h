// Plays a workload against a cache with worker threads, on schedule.
#ifndef POLARKV_CLIENT_LOAD_REPLAY_H_
#define POLARKV_CLIENT_LOAD_REPLAY_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "client/load/request_runner.h"

namespace polarkv::load {

struct ReplayOptions {
  uint32_t threads = 4;
  // A request starts only when every request whose blocks it could reuse is finished: the cache is then able to reach
  // the workload's ideal hit ratio. Otherwise requests that overlap in time miss blocks that others are still storing,
  // as they do in life. One thread is always in order.
  bool ordered = false;
  bool open_loop = true;                 // the starts are a schedule, and latency counts from them
  std::chrono::nanoseconds duration{0};  // no request starts later than this; 0: no limit
  uint64_t seed = 1;
};

struct ReplayState {
  Tally tally;
  uint64_t started = 0;
  uint64_t overdue = 0;  // should have started by now (or by the end), but did not: the latencies lack these
  std::chrono::nanoseconds elapsed{0};
  bool stopped = false;  // by Stop()
};

// Thread-safe after construction.
class Replay {
 public:
  // All arguments outlive this. `starts` as from IntendedStarts, one a request. `context.finished` is filled in here.
  Replay(const Workload& workload, const ReusePlan& plan, const std::vector<std::chrono::nanoseconds>& starts,
         RunnerContext context, const RunnerOptions& runner_options, const ReplayOptions& options);
  ~Replay();

  void Start();
  // No request starts any more; those that run finish. May be called at any time, from any thread.
  void Stop();
  // True: all workers are done. False: they are not, and `timeout` has passed.
  bool WaitFor(std::chrono::milliseconds timeout);
  ReplayState state() const;

 private:
  using Clock = std::chrono::steady_clock;

  void Work(RequestRunner& runner);
  // Waits for the request's start and, when ordered, for its providers; false: it is not to start.
  bool AwaitTurn(uint32_t index);
  bool ProvidersFinished(uint32_t index) const;
  std::chrono::nanoseconds Elapsed() const;

  const Workload& workload_;
  const ReusePlan& plan_;
  const std::vector<std::chrono::nanoseconds>& starts_;
  ReplayOptions options_;
  std::vector<std::atomic<bool>> finished_;  // one a request
  std::vector<std::unique_ptr<RequestRunner>> runners_;
  std::vector<std::thread> threads_;
  std::atomic<uint32_t> next_{0};
  std::atomic<uint64_t> started_{0};
  Clock::time_point start_{};

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // a request finished, stop_, or running_ fell to 0
  bool stop_ = false;
  uint32_t running_ = 0;
  Clock::time_point end_{};
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_REPLAY_H_
