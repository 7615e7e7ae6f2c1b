// Numbers as they lie in an engine's tensors of any element type.
#ifndef POLARKV_TESTS_KERNELS_CUDA_ELEMENTS_H_
#define POLARKV_TESTS_KERNELS_CUDA_ELEMENTS_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "codec/half_float.h"
#include "kernels/cuda/element_type.h"

namespace polarkv::cuda {

// To nearest, ties to even; what is beyond the type's range becomes infinite, a NaN stays one.
inline uint16_t RoundToElement(ElementType type, float x) {
  if (type == ElementType::kF16) return FloatToHalf(x);
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
inline float ElementToFloat(ElementType type, uint16_t bits) {
  return type == ElementType::kF16 ? HalfToFloat(bits) : BFloat16ToFloat(bits);
}

inline std::vector<uint8_t> ElementsOf(ElementType type, const std::vector<float>& x) {
  std::vector<uint8_t> bytes(x.size() * ElementBytes(type));
  for (size_t i = 0; i < x.size(); ++i) {
    const uint16_t half = RoundToElement(type, x[i]);
    if (type == ElementType::kF32) std::memcpy(bytes.data() + 4 * i, &x[i], 4);
    if (type != ElementType::kF32) std::memcpy(bytes.data() + 2 * i, &half, 2);
  }
  return bytes;
}
inline std::vector<float> FloatsOf(ElementType type, const std::vector<uint8_t>& bytes) {
  std::vector<float> x(bytes.size() / ElementBytes(type));
  for (size_t i = 0; i < x.size(); ++i) {
    uint16_t half = 0;
    if (type == ElementType::kF32) std::memcpy(&x[i], bytes.data() + 4 * i, 4);
    if (type == ElementType::kF32) continue;
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    x[i] = ElementToFloat(type, half);
  }
  return x;
}

// What rounding a number to the type may do, relative to it.
inline double RelativeRounding(ElementType type) {
  return type == ElementType::kF16 ? 0x1p-11 : type == ElementType::kBF16 ? 0x1p-8 : 0;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_ELEMENTS_H_
