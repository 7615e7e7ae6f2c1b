// A device of the host's: queues of work that a thread does step by step, whenever and in whatever order between queues the
// seed says, and launches on emulated lanes. What a copy is to bring is poisoned when it begins and comes in pieces, in any
// order; memory is poison when it is allocated.
#ifndef POLARKV_TESTS_KERNELS_CUDA_EMULATED_DEVICE_H_
#define POLARKV_TESTS_KERNELS_CUDA_EMULATED_DEVICE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/device.h"

namespace polarkv::cuda {

struct EmulatedBehaviour {
  uint32_t seed = 1;
  // Which queue goes on when several can: any, or always that which was made last (or first) of them.
  enum { kAny, kLastMade, kFirstMade } order = kAny;
  bool ignores_waits = false;    // a defect: queues do not wait for events
  uint64_t failing_copy = 0;     // the device fails at this one, counted from 1; 0: never
  size_t memory = SIZE_MAX;      // bytes, device and pinned together
  uint32_t warps = 3;
};

class EmulatedDevice final : public Device {
 public:
  explicit EmulatedDevice(const EmulatedBehaviour& behaviour = {});
  ~EmulatedDevice() override;

  // Between these, no work is done: the host runs ahead as far as it likes.
  void Pause();
  void Resume();
  // Calls back from the queue.
  void Call(Queue queue, std::function<void()> function);
  // Allocations, queues and events that were not freed.
  size_t live();
  uint64_t copied_bytes();  // from the host so far
  // Things that a device would not forgive: copies outside of memory, frees of what is not there.
  std::vector<std::string> faults();

  void* Allocate(size_t bytes) override;
  void Free(void* memory) override;
  void* AllocatePinned(size_t bytes) override { return Allocate(bytes); }
  void FreePinned(void* memory) override { Free(memory); }
  Queue MakeQueue() override;
  void FreeQueue(Queue queue) override;
  Event MakeEvent() override;
  void FreeEvent(Event event) override;
  bool CopyIn(void* to, const void* from, size_t bytes, Queue queue) override;
  bool CopyOut(void* to, const void* from, size_t bytes, Queue queue) override;
  bool Record(Event event, Queue queue) override;
  bool Wait(Event event, Queue queue) override;
  EventState StateOf(Event event) override;
  bool Finish(Queue queue) override;
  bool FinishEvent(Event event) override;
  uint32_t AttentionWarps(uint32_t) override { return behaviour_.warps; }
  LaunchError Attend(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps, void* workspace,
                     size_t workspace_bytes, Queue queue) override;
  LaunchError Encode(const EncodeCodec& codec, const EncodeBatch& batch, Queue queue) override;
  LaunchError Decode(const AttentionCodec& codec, const DecodeBatch& batch, Queue queue) override;
  std::string LastError() override { return "an emulated failure"; }

 private:
  // Does a part of a queue's first piece of work; true: that was all of it. Without `run` it is a wait.
  struct Work {
    std::function<bool()> run;
    void* event = nullptr;
    uint64_t recorded = 0;
  };
  struct EmulatedQueue {
    std::deque<Work> work;
    bool busy = false;
  };
  struct EmulatedEvent {
    uint64_t recorded = 0, reached = 0;
  };

  bool Enqueue(Queue queue, Work work);
  void EnqueueCopy(void* to, const void* from, size_t bytes, Queue queue);
  void CheckInside(const void* memory, size_t bytes);
  EmulatedQueue* Choose();
  void RunAll();

  const EmulatedBehaviour behaviour_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::mt19937 random_;
  bool paused_ = false, ending_ = false, failed_ = false;
  uint64_t copies_ = 0, copied_bytes_ = 0;
  size_t allocated_ = 0;
  std::map<uint8_t*, size_t> memory_;
  std::vector<std::unique_ptr<EmulatedQueue>> queues_;
  std::vector<std::unique_ptr<EmulatedEvent>> events_;
  std::vector<std::string> faults_;
  std::thread thread_;
};

// The launches, all at once, over memory of the host.
void EmulateAttention(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps);
void EmulateEncode(const EncodeCodec& codec, const EncodeBatch& batch);
void EmulateDecode(const AttentionCodec& codec, const DecodeBatch& batch);

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_EMULATED_DEVICE_H_
