// What the host's parts of this folder ask of a device: memory, queues of work, events, launches. CudaDevice() is the one
// real implementation; tests have another, which runs all of it on emulated lanes in adversarial orders.
#ifndef POLARKV_KERNELS_CUDA_DEVICE_H_
#define POLARKV_KERNELS_CUDA_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/decode.h"
#include "kernels/cuda/encode.h"

namespace polarkv::cuda {

using Queue = void*;  // a cudaStream_t: its work is done in order, that of two queues in any
using Event = void*;  // a cudaEvent_t

enum class EventState { kReached, kPending, kFailed };

// Thread-safe. False and null say that the device failed, or is out of memory where memory is asked for; LastError() says
// more. What only enqueues work does not wait for the device and does not allocate.
class Device {
 public:
  virtual ~Device() = default;

  // At multiples of 256 bytes. Freeing null does nothing; freeing waits for no work.
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Free(void* memory) = 0;
  // Of the host, which copies read and write while the host goes on.
  virtual void* AllocatePinned(size_t bytes) = 0;
  virtual void FreePinned(void* memory) = 0;
  virtual Queue MakeQueue() = 0;
  virtual void FreeQueue(Queue queue) = 0;
  virtual Event MakeEvent() = 0;
  virtual void FreeEvent(Event event) = 0;

  // Enqueue. Host memory must stay as it is until the queue has passed the copy.
  [[nodiscard]] virtual bool CopyIn(void* device_to, const void* host_from, size_t bytes, Queue queue) = 0;
  [[nodiscard]] virtual bool CopyOut(void* host_to, const void* device_from, size_t bytes, Queue queue) = 0;
  // The event is reached when the queue has done what it was given before.
  [[nodiscard]] virtual bool Record(Event event, Queue queue) = 0;
  // What the queue is given from now on is done after the event as it was last recorded; at once if it never was.
  [[nodiscard]] virtual bool Wait(Event event, Queue queue) = 0;
  virtual EventState StateOf(Event event) = 0;

  // The host waits for the device.
  [[nodiscard]] virtual bool Finish(Queue queue) = 0;
  [[nodiscard]] virtual bool FinishEvent(Event event) = 0;

  // As attention.h, encode.h and decode.h.
  virtual uint32_t AttentionWarps(uint32_t head_dim) = 0;
  virtual LaunchError Attend(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps, void* workspace,
                             size_t workspace_bytes, Queue queue) = 0;
  virtual LaunchError Encode(const EncodeCodec& codec, const EncodeBatch& batch, Queue queue) = 0;
  virtual LaunchError Decode(const AttentionCodec& codec, const DecodeBatch& batch, Queue queue) = 0;

  // What the device says of its last failure; for messages.
  virtual std::string LastError() = 0;
};

// The calling thread's current CUDA device (the first one, unless the process chose another). Null without one; `why`
// then says what is missing and what to do. Lives as long as the process. Also there in builds without nvcc.
Device* CudaDevice(std::string& why);

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DEVICE_H_
