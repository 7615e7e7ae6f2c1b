// What merging alone asks of a warp, on the host: a base of HostWarp (host_warp.h).
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_MERGE_OPERATIONS_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_MERGE_OPERATIONS_H_

#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"
#include "tests/kernels/cuda/host_lanes.h"

namespace polarkv::cuda {

struct HostMergeOperations {
  static void LoadWords(const Lanes<bool>& condition, const void* from, const Lanes<int64_t>& byte_offset,
                        Lanes<uint32_t> (&words)[4]) {
    for (size_t lane = 0; lane < 32; ++lane) {
      uint32_t loaded[4] = {};
      const auto* const at = static_cast<const uint8_t*>(from) + (condition[lane] ? byte_offset[lane] : 0);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(at) % 16, 0u);
      if (condition[lane]) std::memcpy(loaded, at, sizeof loaded);
      for (size_t i = 0; i < 4; ++i) words[i][lane] = loaded[i];
    }
  }
  static void StoreWords(const Lanes<bool>& condition, void* to, const Lanes<int64_t>& byte_offset,
                         const Lanes<uint32_t> (&words)[4]) {
    for (size_t lane = 0; lane < 32; ++lane) {
      if (!condition[lane]) continue;
      auto* const at = static_cast<uint8_t*>(to) + byte_offset[lane];
      EXPECT_EQ(reinterpret_cast<uintptr_t>(at) % 16, 0u);
      for (size_t i = 0; i < 4; ++i) std::memcpy(at + 4 * i, &words[i][lane], 4);
    }
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_MERGE_OPERATIONS_H_
