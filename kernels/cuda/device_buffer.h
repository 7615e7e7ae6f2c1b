// Device memory that grows when more is needed, and what a device's failures are as statuses.
#ifndef POLARKV_KERNELS_CUDA_DEVICE_BUFFER_H_
#define POLARKV_KERNELS_CUDA_DEVICE_BUFFER_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/device.h"

namespace polarkv::cuda {

inline absl::Status DeviceFailure(Device& device) {
  return absl::InternalError(absl::StrCat("the CUDA device failed: ", device.LastError()));
}

// Of launches: FAILED_PRECONDITION where there is no kernel.
inline absl::Status LaunchStatus(LaunchError error, Device& device) {
  if (error == LaunchError::kNone) return absl::OkStatus();
  if (error == LaunchError::kLaunchFailed) return DeviceFailure(device);
  return absl::FailedPreconditionError(LaunchErrorText(error));
}

// Not thread-safe. No work may be under way with it when it grows or goes.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(Device& device) : device_(device) {}
  ~DeviceBuffer() { device_.Free(memory_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  // At least so many bytes; what was in them is lost when they are more than before. RESOURCE_EXHAUSTED.
  absl::Status Reserve(size_t bytes) {
    if (bytes <= bytes_) return absl::OkStatus();
    device_.Free(memory_);
    memory_ = device_.Allocate(bytes);
    bytes_ = memory_ == nullptr ? 0 : bytes;
    if (memory_ != nullptr) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat("no device memory for ", bytes, " bytes: ", device_.LastError()));
  }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* As() const {
    return static_cast<T*>(memory_);
  }

 private:
  Device& device_;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

// A queue for as long as its owner lives, which waits for its work at the end.
class OwnedQueue {
 public:
  explicit OwnedQueue(Device& device) : device_(device), queue_(device.MakeQueue()) {}
  ~OwnedQueue() {
    if (queue_ == nullptr) return;
    static_cast<void>(device_.Finish(queue_));  // of a device that failed, nothing is under way
    device_.FreeQueue(queue_);
  }
  OwnedQueue(const OwnedQueue&) = delete;
  OwnedQueue& operator=(const OwnedQueue&) = delete;
  Queue get() const { return queue_; }  // null: the device failed

 private:
  Device& device_;
  const Queue queue_;
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DEVICE_BUFFER_H_
