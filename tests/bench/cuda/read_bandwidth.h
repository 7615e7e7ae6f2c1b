// How fast this run's device reads: what kernels that write next to nothing are put beside.
#ifndef POLARKV_TESTS_BENCH_CUDA_READ_BANDWIDTH_H_
#define POLARKV_TESTS_BENCH_CUDA_READ_BANDWIDTH_H_

#include <cstdint>

#include "tests/bench/cuda/device_timing.h"

namespace polarkv::cuda {

// Bytes a microsecond of a kernel that adds up all bytes of 1 GiB, read 16 at a time, and nothing else. Ends the program if
// their sum is wrong.
double ReadBandwidth(uint32_t rounds, const Buffer& flush);

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_BENCH_CUDA_READ_BANDWIDTH_H_
