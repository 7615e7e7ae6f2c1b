// Device memory of a test: copied to when made, freed when gone.
#ifndef POLARKV_TESTS_KERNELS_CUDA_DEVICE_MEMORY_H_
#define POLARKV_TESTS_KERNELS_CUDA_DEVICE_MEMORY_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <vector>

#include "gtest/gtest.h"

namespace polarkv::cuda {

class DeviceMemory {
 public:
  // Filled with 0xFF: NaN, and lengths of no sense.
  explicit DeviceMemory(size_t bytes) {
    EXPECT_EQ(cudaMalloc(&data_, bytes > 0 ? bytes : 1), cudaSuccess);
    EXPECT_EQ(cudaMemset(data_, 0xFF, bytes), cudaSuccess);
  }
  template <class T>
  explicit DeviceMemory(const std::vector<T>& host) : DeviceMemory(host.size() * sizeof(T)) {
    EXPECT_EQ(cudaMemcpy(data_, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~DeviceMemory() { cudaFree(data_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  template <class T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

inline bool HasDevice() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_DEVICE_MEMORY_H_
