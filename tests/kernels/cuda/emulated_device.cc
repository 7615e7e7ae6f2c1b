#include "tests/kernels/cuda/emulated_device.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace polarkv::cuda {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kPieces = 5;

template <class T>
T* AddTo(std::vector<std::unique_ptr<T>>& all) {
  all.push_back(std::make_unique<T>());
  return all.back().get();
}

template <class T>
bool RemoveFrom(std::vector<std::unique_ptr<T>>& all, void* one) {
  return std::erase_if(all, [&](const auto& item) { return item.get() == one; }) == 1;
}

}  // namespace

EmulatedDevice::EmulatedDevice(const EmulatedBehaviour& behaviour)
    : behaviour_(behaviour), random_(behaviour.seed), thread_([this] { RunAll(); }) {}

EmulatedDevice::~EmulatedDevice() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  for (const auto& [memory, bytes] : memory_) ::operator delete(memory, std::align_val_t{kAlignment});
}

void EmulatedDevice::Pause() {
  const std::lock_guard lock(mutex_);
  paused_ = true;
}

void EmulatedDevice::Resume() {
  const std::lock_guard lock(mutex_);
  paused_ = false;
  changed_.notify_all();
}

size_t EmulatedDevice::live() {
  const std::lock_guard lock(mutex_);
  return memory_.size() + queues_.size() + events_.size();
}

uint64_t EmulatedDevice::copied_bytes() {
  const std::lock_guard lock(mutex_);
  return copied_bytes_;
}

std::vector<std::string> EmulatedDevice::faults() {
  const std::lock_guard lock(mutex_);
  return faults_;
}

void* EmulatedDevice::Allocate(size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > behaviour_.memory || allocated_ > behaviour_.memory - bytes) return nullptr;
  auto* const memory = static_cast<uint8_t*>(::operator new(bytes, std::align_val_t{kAlignment}));
  std::memset(memory, 0xFF, bytes);
  memory_[memory] = bytes;
  allocated_ += bytes;
  return memory;
}

void EmulatedDevice::Free(void* memory) {
  if (memory == nullptr) return;
  const std::lock_guard lock(mutex_);
  const auto found = memory_.find(static_cast<uint8_t*>(memory));
  if (found == memory_.end()) return faults_.push_back("a free of what is not there");
  allocated_ -= found->second;
  memory_.erase(found);
  ::operator delete(memory, std::align_val_t{kAlignment});
}

Queue EmulatedDevice::MakeQueue() {
  const std::lock_guard lock(mutex_);
  return AddTo(queues_);
}

void EmulatedDevice::FreeQueue(Queue queue) {
  if (queue == nullptr) return;
  const std::lock_guard lock(mutex_);
  if (!RemoveFrom(queues_, queue)) faults_.push_back("a queue was freed that is not there");
}

Event EmulatedDevice::MakeEvent() {
  const std::lock_guard lock(mutex_);
  return AddTo(events_);
}

void EmulatedDevice::FreeEvent(Event event) {
  if (event == nullptr) return;
  const std::lock_guard lock(mutex_);
  if (!RemoveFrom(events_, event)) faults_.push_back("an event was freed that is not there");
}

bool EmulatedDevice::Enqueue(Queue queue, Work work) {
  static_cast<EmulatedQueue*>(queue)->work.push_back(std::move(work));
  changed_.notify_all();
  return !failed_;
}

void EmulatedDevice::CheckInside(const void* memory, size_t bytes) {
  const auto* const first = static_cast<const uint8_t*>(memory);
  const bool inside = std::ranges::any_of(memory_, [&](const auto& region) {
    return first >= region.first && first + bytes <= region.first + region.second;
  });
  if (!inside) faults_.push_back("a copy outside of the device's memory");
}

// First all of it is poison, then piece after piece is what it should be.
void EmulatedDevice::EnqueueCopy(void* to, const void* from, size_t bytes, Queue queue) {
  const uint64_t number = ++copies_;
  const bool reversed = random_() % 2 == 0;
  const auto run = [=, this, step = size_t{0}]() mutable {
    if (number == behaviour_.failing_copy) {
      const std::lock_guard lock(mutex_);
      failed_ = true;
      return true;
    }
    if (step == 0) {
      std::memset(to, 0xFF, bytes);
    } else {
      const size_t piece = reversed ? kPieces - step : step - 1;
      const size_t first = bytes * piece / kPieces, end = bytes * (piece + 1) / kPieces;
      std::memcpy(static_cast<uint8_t*>(to) + first, static_cast<const uint8_t*>(from) + first, end - first);
    }
    return step++ == kPieces;
  };
  Enqueue(queue, {run});
}

bool EmulatedDevice::CopyIn(void* to, const void* from, size_t bytes, Queue queue) {
  const std::lock_guard lock(mutex_);
  CheckInside(to, bytes);
  copied_bytes_ += bytes;
  EnqueueCopy(to, from, bytes, queue);
  return !failed_;
}

bool EmulatedDevice::CopyOut(void* to, const void* from, size_t bytes, Queue queue) {
  const std::lock_guard lock(mutex_);
  CheckInside(from, bytes);
  EnqueueCopy(to, from, bytes, queue);
  return !failed_;
}

bool EmulatedDevice::Record(Event event, Queue queue) {
  const std::lock_guard lock(mutex_);
  auto* const recorded = static_cast<EmulatedEvent*>(event);
  const uint64_t number = ++recorded->recorded;
  return Enqueue(queue, {[=, this] {
                   const std::lock_guard inner(mutex_);
                   recorded->reached = number;
                   return true;
                 }});
}

bool EmulatedDevice::Wait(Event event, Queue queue) {
  const std::lock_guard lock(mutex_);
  if (behaviour_.ignores_waits) return !failed_;
  return Enqueue(queue, {{}, event, static_cast<EmulatedEvent*>(event)->recorded});
}

void EmulatedDevice::Call(Queue queue, std::function<void()> function) {
  const std::lock_guard lock(mutex_);
  Enqueue(queue, {[function = std::move(function)] {
            function();
            return true;
          }});
}

EventState EmulatedDevice::StateOf(Event event) {
  const std::lock_guard lock(mutex_);
  if (failed_) return EventState::kFailed;
  const auto* const asked = static_cast<EmulatedEvent*>(event);
  return asked->reached == asked->recorded ? EventState::kReached : EventState::kPending;
}

bool EmulatedDevice::Finish(Queue queue) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failed_ || static_cast<EmulatedQueue*>(queue)->work.empty(); });
  return !failed_;
}

bool EmulatedDevice::FinishEvent(Event event) {
  std::unique_lock lock(mutex_);
  const auto* const asked = static_cast<EmulatedEvent*>(event);
  changed_.wait(lock, [&] { return failed_ || asked->reached == asked->recorded; });
  return !failed_;
}

// A queue that can go on; null: none. Waits that are over go on the way.
EmulatedDevice::EmulatedQueue* EmulatedDevice::Choose() {
  std::vector<EmulatedQueue*> ready;
  for (const auto& queue : queues_) {
    while (!queue->work.empty() && !queue->work.front().run &&
           static_cast<EmulatedEvent*>(queue->work.front().event)->reached >= queue->work.front().recorded) {
      queue->work.pop_front();
    }
    if (!queue->work.empty() && queue->work.front().run) ready.push_back(queue.get());
  }
  changed_.notify_all();
  if (ready.empty()) return nullptr;
  if (behaviour_.order == EmulatedBehaviour::kLastMade) return ready.back();
  if (behaviour_.order == EmulatedBehaviour::kFirstMade) return ready.front();
  return ready[random_() % ready.size()];
}

void EmulatedDevice::RunAll() {
  std::unique_lock lock(mutex_);
  for (;;) {
    EmulatedQueue* const queue = paused_ || failed_ ? nullptr : Choose();
    if (queue == nullptr) {
      if (ending_) return;
      changed_.wait_for(lock, std::chrono::milliseconds(50));
      continue;
    }
    // Nobody else takes work away, and a deque's elements stay where they are while others are added.
    Work& work = queue->work.front();
    const bool delay = random_() % 16 == 0;
    lock.unlock();
    if (delay) std::this_thread::sleep_for(std::chrono::microseconds(100));
    const bool done = work.run();
    lock.lock();
    if (done) queue->work.pop_front();
    changed_.notify_all();
  }
}

LaunchError EmulatedDevice::Attend(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps, void* workspace,
                                   size_t workspace_bytes, Queue queue) {
  const size_t needed = AttentionWorkspaceBytes(codec, batch, warps);
  if (needed == 0) return LaunchError::kUnsupportedShape;
  if (workspace == nullptr || workspace_bytes < needed) return LaunchError::kWorkspaceTooSmall;
  const std::lock_guard lock(mutex_);
  const bool enqueued = Enqueue(queue, {[=] {
                                  EmulateAttention(codec, batch, warps);
                                  return true;
                                }});
  return enqueued ? LaunchError::kNone : LaunchError::kLaunchFailed;
}

LaunchError EmulatedDevice::Encode(const EncodeCodec& codec, const EncodeBatch& batch, Queue queue) {
  if (const LaunchError error = CheckEncode(codec, batch); error != LaunchError::kNone) return error;
  const std::lock_guard lock(mutex_);
  const bool enqueued = Enqueue(queue, {[=] {
                                  EmulateEncode(codec, batch);
                                  return true;
                                }});
  return enqueued ? LaunchError::kNone : LaunchError::kLaunchFailed;
}

LaunchError EmulatedDevice::Decode(const AttentionCodec& codec, const DecodeBatch& batch, Queue queue) {
  if (const LaunchError error = CheckDecode(codec, batch); error != LaunchError::kNone) return error;
  const std::lock_guard lock(mutex_);
  const bool enqueued = Enqueue(queue, {[=] {
                                  EmulateDecode(codec, batch);
                                  return true;
                                }});
  return enqueued ? LaunchError::kNone : LaunchError::kLaunchFailed;
}

}  // namespace polarkv::cuda
