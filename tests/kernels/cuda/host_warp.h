// The warp of kernels/cuda/warp_types.h on the host: every value is 32 lanes', every operation computes what the PTX
// instruction is specified to compute. Exp2, Log2, Divide, Sine and Cosine differ: rounded correctly here, near to that there.
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_WARP_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_WARP_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "codec/half_float.h"
#include "gtest/gtest.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/warp_types.h"
#include "tests/kernels/cuda/elements.h"
#include "tests/kernels/cuda/host_encode_operations.h"
#include "tests/kernels/cuda/host_lanes.h"
#include "tests/kernels/cuda/host_merge_operations.h"
#include "tests/kernels/cuda/host_mma.h"

namespace polarkv::cuda {

struct HostWarp : HostEncodeOperations, HostMergeOperations {
  using U32 = Lanes<uint32_t>;
  using I32 = Lanes<int32_t>;
  using F32 = Lanes<float>;
  using I64 = Lanes<int64_t>;
  using F64 = Lanes<double>;
  using Bool = Lanes<bool>;

  static U32 Lane() {
    return EachLane<uint32_t>([](size_t lane) { return lane; });
  }

  static U32 Permute(const U32& low, const U32& high, const U32& selector) {
    return EachLane<uint32_t>([&](size_t lane) {
      const uint64_t bytes = uint64_t{high[lane]} << 32 | low[lane];
      uint32_t result = 0;
      for (int i = 0; i < 4; ++i) {
        const uint32_t nibble = selector[lane] >> (4 * i) & 15;
        uint32_t byte = bytes >> (8 * (nibble & 7)) & 0xFF;
        if ((nibble & 8) != 0) byte = (byte & 0x80) != 0 ? 0xFF : 0;
        result |= byte << (8 * i);
      }
      return result;
    });
  }

  static U32 SelectBits(uint32_t mask, const U32& a, const U32& b) { return (a & mask) | (b & ~mask); }

  // Lane l holds row l / 4, elements 2 * (l % 4) and + 1 of an 8 x 8 matrix of 16-bit elements, before and after.
  static U32 Transpose8x8(const U32& x) {
    const auto element = [&](size_t row, size_t column) {
      return x[4 * row + column / 2] >> (16 * (column % 2)) & 0xFFFF;
    };
    return EachLane<uint32_t>([&](size_t lane) {
      const size_t row = lane / 4, column = 2 * (lane % 4);
      return element(column, row) | element(column + 1, row) << 16;
    });
  }

  static void MmaS8(I32 (&acc)[4], const U32& a0, const U32& a1, const U32& a2, const U32& a3, const U32& b0,
                    const U32& b1) {
    MultiplyBytes<int8_t>(acc, {a0, a1, a2, a3}, {b0, b1});
  }
  static void MmaU8(I32 (&acc)[4], const U32& a0, const U32& a1, const U32& a2, const U32& a3, const U32& b0,
                    const U32& b1) {
    MultiplyBytes<uint8_t>(acc, {a0, a1, a2, a3}, {b0, b1});
  }

  static void MmaF16(F32 (&acc)[4], const U32& a0, const U32& a1, const U32& a2, const U32& a3, const U32& b0,
                     const U32& b1) {
    MultiplyHalves(acc, {a0, a1, a2, a3}, {b0, b1});
  }
  static F32 Sine(const F32& x) {
    return EachLane<float>([&](size_t lane) { return std::sin(x[lane]); });
  }
  static F32 Cosine(const F32& x) {
    return EachLane<float>([&](size_t lane) { return std::cos(x[lane]); });
  }

  static F32 ShuffleXor(const F32& x, int mask) {
    return EachLane<float>([&](size_t lane) { return x[lane ^ static_cast<size_t>(mask)]; });
  }
  static bool Any(const Lanes<bool>& condition) {
    return std::any_of(condition.v.begin(), condition.v.end(), [](bool x) { return x; });
  }
  static F32 Select(const Lanes<bool>& condition, const F32& yes, const F32& no) {
    return EachLane<float>([&](size_t lane) { return condition[lane] ? yes[lane] : no[lane]; });
  }
  static F32 Fma(const F32& a, const F32& b, const F32& c) {
    return EachLane<float>([&](size_t lane) { return std::fma(a[lane], b[lane], c[lane]); });
  }
  // fmaxf and fminf: the operand that is a number.
  static F32 Max(const F32& a, const F32& b) {
    return EachLane<float>([&](size_t lane) { return std::fmax(a[lane], b[lane]); });
  }
  static F32 Min(const F32& a, const F32& b) {
    return EachLane<float>([&](size_t lane) { return std::fmin(a[lane], b[lane]); });
  }
  static F32 Exp2(const F32& x) {
    return EachLane<float>([&](size_t lane) {
      const float y = std::exp2(x[lane]);
      return std::fabs(y) < 0x1p-126f ? 0.0f : y;  // .ftz
    });
  }
  static F32 ToFloat(const I32& x) {
    return EachLane<float>([&](size_t lane) { return x[lane]; });
  }
  static F32 AsF32(const I32& x) {
    return EachLane<float>([&](size_t lane) { return std::bit_cast<float>(x[lane]); });
  }
  static U32 AsU32(const F32& x) {
    return EachLane<uint32_t>([&](size_t lane) { return std::bit_cast<uint32_t>(x[lane]); });
  }
  static I32 AsI32(const U32& x) {
    return EachLane<int32_t>([&](size_t lane) { return x[lane]; });
  }
  static U32 BitsOf(const I32& x) {
    return EachLane<uint32_t>([&](size_t lane) { return x[lane]; });
  }
  static I64 Wide(const U32& x) {
    return EachLane<int64_t>([&](size_t lane) { return x[lane]; });
  }
  static I32 Round(const F32& x) {
    return EachLane<int32_t>([&](size_t lane) { return std::lrint(x[lane]); });
  }
  static F32 Log2(const F32& x) {
    return EachLane<float>([&](size_t lane) { return std::log2(x[lane]); });
  }
  // div.approx.f32, but rounded correctly: divisors above 2^126 give 0, or NaN of an infinity.
  static F32 Divide(const F32& a, const F32& b) {
    return EachLane<float>([&](size_t lane) {
      const bool huge = std::fabs(b[lane]) > 0x1p126f && !std::isinf(b[lane]);
      return huge ? a[lane] * 0.0f : a[lane] / b[lane];
    });
  }
  static U32 Select(const Bool& condition, const U32& yes, const U32& no) {
    return EachLane<uint32_t>([&](size_t lane) { return condition[lane] ? yes[lane] : no[lane]; });
  }
  static Bool And(const Bool& a, const Bool& b) {
    return EachLane<bool>([&](size_t lane) { return a[lane] && b[lane]; });
  }

  static U32 ShuffleXor(const U32& x, int mask) { return Exchange(x, mask); }
  static I32 ShuffleXor(const I32& x, int mask) { return Exchange(x, mask); }
  static U32 Max(const U32& a, const U32& b) {
    return EachLane<uint32_t>([&](size_t lane) { return std::max(a[lane], b[lane]); });
  }
  static I32 Max(const I32& a, const I32& b) {
    return EachLane<int32_t>([&](size_t lane) { return std::max(a[lane], b[lane]); });
  }
  // Plain floats convert to each of these.
  static F32 Max(float a, float b) { return Max(F32(a), F32(b)); }
  static int32_t MaxOverWarp(const I32& x) { return *std::max_element(x.v.begin(), x.v.end()); }
  static uint32_t Ballot(const Bool& condition) {
    uint32_t mask = 0;
    for (size_t lane = 0; lane < 32; ++lane) mask |= (condition[lane] ? 1u : 0u) << lane;
    return mask;
  }
  static I32 Select(const Bool& condition, const I32& yes, const I32& no) {
    return EachLane<int32_t>([&](size_t lane) { return condition[lane] ? yes[lane] : no[lane]; });
  }
  static Bool Not(const Bool& a) {
    return EachLane<bool>([&](size_t lane) { return !a[lane]; });
  }
  static U32 MultiplyHigh(const U32& a, const U32& b) {
    return EachLane<uint32_t>([&](size_t lane) { return uint64_t{a[lane]} * b[lane] >> 32; });
  }
  static void Sync() {}
  template <class T>
  static T* Shared(T* at) {
    return at;
  }
  template <class T>
  static T* Global(T* at) {
    return at;
  }
  static F32 SquareRoot(const F32& x) {
    return EachLane<float>([&](size_t lane) { return std::sqrt(x[lane]); });
  }
  static F32 DivideRounded(const F32& a, const F32& b) { return a / b; }
  static F32 FloatOfBits(const U32& x) {
    return EachLane<float>([&](size_t lane) { return std::bit_cast<float>(x[lane]); });
  }
  static F32 LowHalf(const U32& x) {
    return EachLane<float>([&](size_t lane) { return HalfToFloat(static_cast<uint16_t>(x[lane])); });
  }
  static F32 HighHalf(const U32& x) { return LowHalf(x >> 16); }
  static I32 DotLow(const U32& a, const U32& bytes, const I32& c) { return DotTwo(a, bytes, c); }
  static I32 DotHigh(const U32& a, const U32& bytes, const I32& c) { return DotTwo(a, bytes >> 16, c); }
  static I32 DotFour(const U32& a, const U32& b, const I32& c) {
    return EachLane<int32_t>([&](size_t lane) {
      int32_t sum = c[lane];
      for (int i = 0; i < 4; ++i) {
        sum += static_cast<int8_t>(a[lane] >> (8 * i)) * static_cast<int8_t>(b[lane] >> (8 * i));
      }
      return sum;
    });
  }
  static I32 LoadInt(const int32_t* from, const U32& index) {
    return EachLane<int32_t>([&](size_t lane) { return from[index[lane]]; });
  }
  static I32 LoadIntIf(const Bool& condition, const int32_t* from, const I64& index) {
    return EachLane<int32_t>([&](size_t lane) { return condition[lane] ? from[index[lane]] : 0; });
  }
  static void StoreInt(int32_t* to, const U32& index, const I32& x) {
    for (size_t lane = 0; lane < 32; ++lane) to[index[lane]] = x[lane];
  }
  static void StoreByte(uint8_t* to, const U32& index, const U32& x) {
    for (size_t lane = 0; lane < 32; ++lane) to[index[lane]] = static_cast<uint8_t>(x[lane]);
  }
  static U32 LoadShort(const uint8_t* from, const U32& byte_offset) {
    return EachLane<uint32_t>([&](size_t lane) {
      uint16_t loaded;
      std::memcpy(&loaded, from + byte_offset[lane], sizeof loaded);
      return loaded;
    });
  }
  static U32 LoadByte(const uint8_t* from, const U32& index) {
    return EachLane<uint32_t>([&](size_t lane) { return from[index[lane]]; });
  }
  static U32 CountBits(const U32& x) {
    return EachLane<uint32_t>([&](size_t lane) { return std::popcount(x[lane]); });
  }
  static void StoreShortIf(const Bool& condition, uint8_t* to, const U32& byte_offset, const U32& x) {
    for (size_t lane = 0; lane < 32; ++lane) {
      const auto half = static_cast<uint16_t>(x[lane]);
      if (condition[lane]) std::memcpy(to + byte_offset[lane], &half, sizeof half);
    }
  }
  template <ElementType kType>
  static U32 PackElements(const F32& low, const F32& high) {
    const auto element = [](float x) -> uint32_t { return RoundToElement(kType, x); };
    return EachLane<uint32_t>([&](size_t lane) { return element(low[lane]) | element(high[lane]) << 16; });
  }
  static void StoreWordIf(const Bool& condition, uint8_t* to, const U32& byte_offset, const U32& x) {
    for (size_t lane = 0; lane < 32; ++lane) {
      if (condition[lane]) std::memcpy(to + byte_offset[lane], &x[lane], 4);
    }
  }
  static void StoreVectorIf(const Bool& condition, uint8_t* to, const U32& byte_offset, const Words4<HostWarp>& x) {
    for (size_t lane = 0; lane < 32; ++lane) {
      if (!condition[lane]) continue;
      EXPECT_EQ(byte_offset[lane] % 16, 0u);
      for (size_t i = 0; i < 4; ++i) std::memcpy(to + byte_offset[lane] + 4 * i, &x.w[i][lane], 4);
    }
  }
  static void StorePairIf(const Bool& condition, float* to, const I64& index, const F32& first, const F32& second) {
    for (size_t lane = 0; lane < 32; ++lane) {
      if (!condition[lane]) continue;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(to + index[lane]) % 8, 0u);
      to[index[lane]] = first[lane];
      to[index[lane] + 1] = second[lane];
    }
  }
  template <class T>
  static void StoreOnce(T* to, T x) {
    *to = x;
  }

  static Words4<HostWarp> LoadVector(const uint8_t* from, const U32& byte_offset) {
    Words4<HostWarp> loaded;
    for (size_t lane = 0; lane < 32; ++lane) {
      uint32_t words[4];
      EXPECT_EQ(byte_offset[lane] % 16, 0u);
      std::memcpy(words, from + byte_offset[lane], sizeof words);
      for (size_t i = 0; i < 4; ++i) loaded.w[i][lane] = words[i];
    }
    return loaded;
  }
  static Words4<HostWarp> LoadRowVector(const uint8_t* const* rows, const U32& token, const U32& byte_offset) {
    Words4<HostWarp> loaded;
    for (size_t lane = 0; lane < 32; ++lane) {
      uint32_t words[4] = {};
      const uint8_t* const row = rows[token[lane]];
      if (row != nullptr) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(row + byte_offset[lane]) % 16, 0u);
        std::memcpy(words, row + byte_offset[lane], sizeof words);
      }
      for (size_t i = 0; i < 4; ++i) loaded.w[i][lane] = words[i];
    }
    return loaded;
  }
  static U32 LoadWord(const uint8_t* from, const U32& byte_offset) {
    return EachLane<uint32_t>([&](size_t lane) {
      uint32_t word;
      std::memcpy(&word, from + byte_offset[lane], sizeof word);
      return word;
    });
  }
  static F32 LoadHalf(const uint8_t* from, const U32& index) {
    return EachLane<float>([&](size_t lane) {
      uint16_t half;
      std::memcpy(&half, from + 2 * size_t{index[lane]}, sizeof half);
      return HalfToFloat(half);
    });
  }
  static U32 ShiftRight(const U32& x, const U32& bits) {
    return EachLane<uint32_t>([&](size_t lane) { return x[lane] >> bits[lane]; });
  }
  static U32 ShiftLeft(const U32& x, const U32& bits) { return x << bits; }
  static uint32_t PopulationCount(uint64_t mask) { return static_cast<uint32_t>(std::popcount(mask)); }
  static F32 LoadFloat(const float* from, const U32& index) {
    return EachLane<float>([&](size_t lane) { return from[index[lane]]; });
  }
  static void StoreFloat(float* to, const U32& index, const F32& x) { StoreFloatIf(true, to, index, x); }
  static void StoreFloatIf(const Bool& condition, float* to, const U32& index, const F32& x) {
    for (size_t lane = 0; lane < 32; ++lane) {
      if (condition[lane]) to[index[lane]] = x[lane];
    }
  }
  static void StoreWord(int8_t* to, const U32& byte_offset, const U32& x) {
    for (size_t lane = 0; lane < 32; ++lane) std::memcpy(to + byte_offset[lane], &x[lane], 4);
  }
  template <ElementType kType>
  static F32 LoadElement(const Bool& condition, const void* from, const I64& index) {
    return EachLane<float>([&](size_t lane) {
      if (!condition[lane]) return 0.0f;
      if constexpr (kType == ElementType::kF32) return static_cast<const float*>(from)[index[lane]];
      const uint16_t bits = static_cast<const uint16_t*>(from)[index[lane]];
      return ElementToFloat(kType, bits);
    });
  }
  template <ElementType kType>
  static void StoreElement(const Bool& condition, void* to, const I64& index, const F32& x) {
    for (size_t lane = 0; lane < 32; ++lane) {
      if (!condition[lane]) continue;
      if constexpr (kType == ElementType::kF32) {
        static_cast<float*>(to)[index[lane]] = x[lane];
      } else {
        static_cast<uint16_t*>(to)[index[lane]] = RoundToElement(kType, x[lane]);
      }
    }
  }

 private:
  template <class T>
  static Lanes<T> Exchange(const Lanes<T>& x, int mask) {
    return EachLane<T>([&](size_t lane) { return x[lane ^ static_cast<size_t>(mask)]; });
  }
  // The lower bytes of `bytes`.
  static I32 DotTwo(const U32& a, const U32& bytes, const I32& c) {
    return EachLane<int32_t>([&](size_t lane) {
      return c[lane] + static_cast<int16_t>(a[lane]) * static_cast<int8_t>(bytes[lane]) +
             static_cast<int16_t>(a[lane] >> 16) * static_cast<int8_t>(bytes[lane] >> 8);
    });
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_WARP_H_
