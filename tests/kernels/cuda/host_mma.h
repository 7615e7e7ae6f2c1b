// The matrix products of a warp, on the fragments of its 32 lanes as the PTX manual lays them out.
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_MMA_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_MMA_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "codec/half_float.h"
#include "tests/kernels/cuda/host_lanes.h"

namespace polarkv::cuda {

using OperandA = std::array<Lanes<uint32_t>, 4>;
using OperandB = std::array<Lanes<uint32_t>, 2>;

// mma.sync.aligned.m16n8k32.row.col.s32.s8.{s8,u8}.s32. B: of operand b's bytes.
template <class B>
void MultiplyBytes(Lanes<int32_t> (&acc)[4], const OperandA& fragment_a, const OperandB& fragment_b) {
  int32_t a[16][32], b[32][8];
  const auto byte = [](const Lanes<uint32_t>& x, size_t lane, size_t i) { return static_cast<uint8_t>(x[lane] >> (8 * i)); };
  for (size_t lane = 0; lane < 32; ++lane) {
    const size_t g = lane / 4, t = lane % 4;
    for (size_t i = 0; i < 4; ++i) {
      a[g][4 * t + i] = static_cast<int8_t>(byte(fragment_a[0], lane, i));
      a[g + 8][4 * t + i] = static_cast<int8_t>(byte(fragment_a[1], lane, i));
      a[g][16 + 4 * t + i] = static_cast<int8_t>(byte(fragment_a[2], lane, i));
      a[g + 8][16 + 4 * t + i] = static_cast<int8_t>(byte(fragment_a[3], lane, i));
      b[4 * t + i][g] = static_cast<B>(byte(fragment_b[0], lane, i));
      b[16 + 4 * t + i][g] = static_cast<B>(byte(fragment_b[1], lane, i));
    }
  }
  for (size_t lane = 0; lane < 32; ++lane) {
    for (size_t i = 0; i < 4; ++i) {
      const size_t row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      uint32_t sum = static_cast<uint32_t>(acc[i][lane]);  // wraps, as the instruction does without .satfinite
      for (size_t k = 0; k < 32; ++k) sum += static_cast<uint32_t>(a[row][k] * b[k][column]);
      acc[i][lane] = static_cast<int32_t>(sum);
    }
  }
}

// mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32. Products are exact; how they are summed is the device's affair.
inline void MultiplyHalves(Lanes<float> (&acc)[4], const OperandA& fragment_a, const OperandB& fragment_b) {
  float a[16][16], b[16][8];
  const auto half = [](const Lanes<uint32_t>& x, size_t lane, size_t i) {
    return HalfToFloat(static_cast<uint16_t>(x[lane] >> (16 * i)));
  };
  for (size_t lane = 0; lane < 32; ++lane) {
    const size_t g = lane / 4, t = lane % 4;
    for (size_t i = 0; i < 2; ++i) {
      a[g][2 * t + i] = half(fragment_a[0], lane, i);
      a[g + 8][2 * t + i] = half(fragment_a[1], lane, i);
      a[g][8 + 2 * t + i] = half(fragment_a[2], lane, i);
      a[g + 8][8 + 2 * t + i] = half(fragment_a[3], lane, i);
      b[2 * t + i][g] = half(fragment_b[0], lane, i);
      b[8 + 2 * t + i][g] = half(fragment_b[1], lane, i);
    }
  }
  for (size_t lane = 0; lane < 32; ++lane) {
    for (size_t i = 0; i < 4; ++i) {
      const size_t row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      double sum = double{acc[i][lane]};
      for (size_t k = 0; k < 16; ++k) sum += double{a[row][k]} * b[k][column];
      acc[i][lane] = static_cast<float>(sum);
    }
  }
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_MMA_H_
