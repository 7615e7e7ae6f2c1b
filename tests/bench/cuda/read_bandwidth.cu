#include "tests/bench/cuda/read_bandwidth.h"

#include <cuda_runtime.h>

namespace polarkv::cuda {
namespace {

constexpr size_t kBytes = size_t{1} << 30;
constexpr uint32_t kThreads = 512, kBlocksOfProcessor = 4, kAhead = 4;

// kAhead loads of a thread are under way at once.
__global__ void __launch_bounds__(kThreads) SumBytesKernel(const uint4* from, uint64_t vectors, unsigned long long* sum) {
  const uint64_t stride = uint64_t{gridDim.x} * kThreads;
  uint64_t total = 0;
  for (uint64_t at = uint64_t{blockIdx.x} * kThreads + threadIdx.x; at < vectors; at += kAhead * stride) {
    uint4 loaded[kAhead];
#pragma unroll
    for (uint32_t i = 0; i < kAhead; ++i) {
      const uint64_t place = at + i * stride;
      loaded[i] = place < vectors ? __ldcs(from + place) : make_uint4(0, 0, 0, 0);
    }
    uint32_t part = 0;
#pragma unroll
    for (uint32_t i = 0; i < kAhead; ++i) {
      for (const uint32_t word : {loaded[i].x, loaded[i].y, loaded[i].z, loaded[i].w}) {
        part = __dp4a(word, 0x01010101u, part);
      }
    }
    total += part;
  }
  for (int mask = 16; mask > 0; mask /= 2) total += __shfl_xor_sync(0xFFFFFFFFu, total, mask);
  if (threadIdx.x % 32 == 0) atomicAdd(sum, static_cast<unsigned long long>(total));
}

}  // namespace

double ReadBandwidth(uint32_t rounds, const Buffer& flush) {
  int device = 0, processors = 0;
  Check(cudaGetDevice(&device), "cudaGetDevice");
  Check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  const Buffer from(kBytes), sum(sizeof(unsigned long long));
  Check(cudaMemset(from.As<void>(), 3, kBytes), "cudaMemset");
  const double us = MedianMicroseconds(rounds, flush, [&] {
    Check(cudaMemsetAsync(sum.As<void>(), 0, sizeof(unsigned long long)), "cudaMemset");
    SumBytesKernel<<<static_cast<uint32_t>(processors) * kBlocksOfProcessor, kThreads>>>(
        from.As<uint4>(), kBytes / 16, sum.As<unsigned long long>());
    Check(cudaGetLastError(), "the kernel that reads");
  });
  unsigned long long summed = 0;
  Check(cudaMemcpy(&summed, sum.As<void>(), sizeof summed, cudaMemcpyDeviceToHost), "cudaMemcpy");
  if (summed != 3 * kBytes) {
    std::fprintf(stderr, "benchmark: the bytes that were read sum up to %llu, not %zu\n", summed, 3 * kBytes);
    std::exit(1);
  }
  return static_cast<double>(kBytes) / us;
}

}  // namespace polarkv::cuda
