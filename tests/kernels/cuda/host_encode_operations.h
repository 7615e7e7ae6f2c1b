// What encoders alone ask of a warp, on the host: a base of HostWarp (host_warp.h).
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_OPERATIONS_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_OPERATIONS_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"
#include "kernels/cuda/element_type.h"
#include "tests/kernels/cuda/host_lanes.h"

namespace polarkv::cuda {

struct HostEncodeOperations {
  using U32 = Lanes<uint32_t>;
  using I32 = Lanes<int32_t>;
  using F32 = Lanes<float>;
  using F64 = Lanes<double>;

  static F32 Magnitude(const F32& x) {
    return EachLane<float>([&](size_t lane) { return std::fabs(x[lane]); });
  }
  static F32 LeastOfThree(const F32& a, const F32& b, const F32& c) {
    return EachLane<float>([&](size_t lane) {
      const auto bits = [lane](const F32& x) { return std::bit_cast<int32_t>(x[lane]); };
      return std::bit_cast<float>(std::min({bits(a), bits(b), bits(c)}));
    });
  }
  // max.NaN.f32: the canonical NaN.
  static F32 LargerMagnitude(const F32& magnitude, const F32& x) {
    return EachLane<float>([&](size_t lane) {
      if (std::isnan(magnitude[lane]) || std::isnan(x[lane])) return std::bit_cast<float>(0x7FFFFFFFu);
      return std::max(magnitude[lane], std::fabs(x[lane]));
    });
  }
  // abs and max.NaN of f16x2 or bf16x2.
  template <ElementType kType>
  static U32 LargerMagnitudes(const U32& magnitudes, const U32& x) {
    constexpr uint32_t kInfinity = kType == ElementType::kF16 ? 0x7C00 : 0x7F80;
    const auto larger = [](uint32_t magnitude, uint32_t number) {
      EXPECT_LT(magnitude, 0x8000u);
      return std::max(magnitude, number & 0x7FFF) > kInfinity ? 0x7FFF : std::max(magnitude, number & 0x7FFF);
    };
    return EachLane<uint32_t>([&](size_t lane) {
      return larger(magnitudes[lane] & 0xFFFF, x[lane]) | larger(magnitudes[lane] >> 16, x[lane] >> 16) << 16;
    });
  }
  static U32 ClampToSteps(const U32& x) {
    const auto clamp = [](uint32_t half) {
      return static_cast<uint32_t>(std::clamp(static_cast<int16_t>(half) + 4096, 0, 8191));
    };
    return EachLane<uint32_t>([&](size_t lane) { return clamp(x[lane]) | clamp(x[lane] >> 16) << 16; });
  }
  static I32 LoadSignedShort(const uint8_t* from, const U32& byte_offset) {
    return EachLane<int32_t>([&](size_t lane) {
      int16_t loaded;
      std::memcpy(&loaded, from + byte_offset[lane], sizeof loaded);
      return loaded;
    });
  }
  static F64 Widen(const F32& x) {
    return EachLane<double>([&](size_t lane) { return x[lane]; });
  }
  static F32 Narrow(const F64& x) {
    return EachLane<float>([&](size_t lane) { return x[lane]; });
  }
  static void StoreDouble(double* to, const U32& index, const F64& x) {
    for (size_t lane = 0; lane < 32; ++lane) to[index[lane]] = x[lane];
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_ENCODE_OPERATIONS_H_
