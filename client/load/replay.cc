#include "client/load/replay.h"

#include <algorithm>
#include <utility>

#include "client/load/mixing.h"

namespace polarkv::load {

Replay::Replay(const Workload& workload, const ReusePlan& plan, const std::vector<std::chrono::nanoseconds>& starts,
               RunnerContext context, const RunnerOptions& runner_options, const ReplayOptions& options)
    : workload_(workload), plan_(plan), starts_(starts), options_(options), finished_(workload.requests.size()) {
  context.finished = [this](uint32_t index) { return finished_[index].load(std::memory_order_acquire); };
  for (uint32_t i = 0; i < options_.threads; ++i)
    runners_.push_back(std::make_unique<RequestRunner>(context, runner_options));
}

Replay::~Replay() {
  Stop();
  for (std::thread& thread : threads_) thread.join();
}

void Replay::Start() {
  start_ = Clock::now();
  running_ = static_cast<uint32_t>(runners_.size());
  for (const std::unique_ptr<RequestRunner>& runner : runners_) {
    threads_.emplace_back([this, worker = runner.get()] { Work(*worker); });
  }
}

void Replay::Stop() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
  changed_.notify_all();
}

bool Replay::WaitFor(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [this] { return running_ == 0; });
}

// Requests are taken in order, and a request's providers come before it: the earliest unfinished one never waits for a
// request that nobody has taken, so ordered replay cannot lock up.
void Replay::Work(RequestRunner& runner) {
  for (;;) {
    const uint32_t index = next_.fetch_add(1);
    if (index >= workload_.requests.size() || !AwaitTurn(index)) break;
    started_.fetch_add(1, std::memory_order_relaxed);
    const std::chrono::nanoseconds delay =
        options_.open_loop ? Clock::now() - (start_ + starts_[index]) : std::chrono::nanoseconds{0};
    runner.Run(workload_.requests[index], plan_[index], StreamWord(options_.seed, index), delay);
    finished_[index].store(true, std::memory_order_release);
    if (options_.ordered) {
      const std::lock_guard lock(mutex_);
      changed_.notify_all();
    }
  }
  const std::lock_guard lock(mutex_);
  if (--running_ == 0) end_ = Clock::now();
  changed_.notify_all();
}

bool Replay::AwaitTurn(uint32_t index) {
  const Clock::time_point intended = start_ + starts_[index];
  const bool limited = options_.duration.count() > 0;
  const Clock::time_point deadline = start_ + options_.duration;
  if (limited && intended > deadline) return false;
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, intended, [this] { return stop_; });
  const auto ready = [&] { return stop_ || !options_.ordered || ProvidersFinished(index); };
  if (limited) {
    if (!changed_.wait_until(lock, deadline, ready)) return false;
  } else {
    changed_.wait(lock, ready);
  }
  return !stop_ && !(limited && Clock::now() > deadline);
}

bool Replay::ProvidersFinished(uint32_t index) const {
  return std::ranges::all_of(plan_[index].providers, [this](const BlockProvider& provider) {
    return finished_[provider.request].load(std::memory_order_acquire);
  });
}

std::chrono::nanoseconds Replay::Elapsed() const { return (running_ == 0 ? end_ : Clock::now()) - start_; }

ReplayState Replay::state() const {
  ReplayState state;
  for (const std::unique_ptr<RequestRunner>& runner : runners_) state.tally.Merge(runner->snapshot());
  state.started = started_.load(std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  state.elapsed = Elapsed();
  state.stopped = stop_;
  if (!options_.open_loop) return state;
  std::chrono::nanoseconds due = state.elapsed;
  if (options_.duration.count() > 0) due = std::min(due, options_.duration);
  const uint64_t scheduled = static_cast<uint64_t>(std::ranges::upper_bound(starts_, due) - starts_.begin());
  state.overdue = scheduled - std::min(scheduled, state.started);
  return state;
}

}  // namespace polarkv::load
