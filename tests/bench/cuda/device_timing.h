// What the CUDA benchmarks share: device memory, timing with a cold L2 cache, the copy bandwidth that figures are put beside.
#ifndef POLARKV_TESTS_BENCH_CUDA_DEVICE_TIMING_H_
#define POLARKV_TESTS_BENCH_CUDA_DEVICE_TIMING_H_

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace polarkv::cuda {

inline constexpr size_t kFlushBytes = size_t{256} << 20;  // several times the L2 cache

inline void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "benchmark: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

// Of "--rounds N" alone; ends the program if the arguments are others.
inline uint32_t RoundsOf(int argc, char** argv) {
  if (argc == 1) return 30;
  if (argc == 3 && std::string(argv[1]) == "--rounds" && std::atoi(argv[2]) > 0) {
    return static_cast<uint32_t>(std::atoi(argv[2]));
  }
  std::fprintf(stderr, "usage: %s [--rounds N]   (N timed rounds a case, default 30)\n", argv[0]);
  std::exit(2);
}

class Buffer {
 public:
  explicit Buffer(size_t bytes) { Check(cudaMalloc(&data_, bytes), "cudaMalloc"); }
  template <class T>
  explicit Buffer(const std::vector<T>& host) : Buffer(host.size() * sizeof(T)) {
    Check(cudaMemcpy(data_, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  template <class T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

// Median microseconds of `work`, the L2 cache flushed before each round.
inline double MedianMicroseconds(uint32_t rounds, const Buffer& flush, const std::function<void()>& work) {
  cudaEvent_t begin = nullptr, end = nullptr;
  Check(cudaEventCreate(&begin), "cudaEventCreate");
  Check(cudaEventCreate(&end), "cudaEventCreate");
  std::vector<float> times;
  for (uint32_t round = 0; round < rounds + 3; ++round) {
    Check(cudaMemsetAsync(flush.As<void>(), static_cast<int>(round), kFlushBytes), "cudaMemset");
    Check(cudaEventRecord(begin), "cudaEventRecord");
    work();
    Check(cudaEventRecord(end), "cudaEventRecord");
    Check(cudaEventSynchronize(end), "timed work");
    float milliseconds = 0;
    Check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
    if (round >= 3) times.push_back(milliseconds * 1000);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::nth_element(times.begin(), times.begin() + static_cast<ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

// Bytes a microsecond that a copy moves, read and written counted: the memory's limit in this run.
inline double CopyBandwidth(uint32_t rounds, const Buffer& flush) {
  constexpr size_t kBytes = size_t{1} << 30;
  const Buffer from(kBytes), to(kBytes);
  const double us = MedianMicroseconds(rounds, flush, [&] {
    Check(cudaMemcpyAsync(to.As<void>(), from.As<void>(), kBytes, cudaMemcpyDeviceToDevice), "copy");
  });
  return 2.0 * kBytes / us;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_BENCH_CUDA_DEVICE_TIMING_H_
