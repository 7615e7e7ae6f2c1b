// IEEE half precision and bfloat16 as bit patterns. All functions are pure.
#ifndef POLARKV_CODEC_HALF_FLOAT_H_
#define POLARKV_CODEC_HALF_FLOAT_H_

#include <bit>
#include <cstdint>

namespace polarkv {

inline constexpr float kMaxHalf = 65504.0f;

// Exact, subnormals included; infinities and NaNs stay what they are.
inline float HalfToFloat(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t magnitude = half & 0x7FFFu;
  if (magnitude >= 0x7C00) return std::bit_cast<float>(sign | 0x7F800000u | (magnitude & 0x3FF) << 13);
  // The half's fields, read as a float's, are the value times 2^-112; the product is exact.
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
}

// Round to nearest, ties to even; beyond the largest half: infinity.
inline uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);
  if (magnitude < 0x38800000u) {
    // Subnormal half: adding 1/2 leaves the value in units of 2^-24 in the low bits, rounded by the addition.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3F000000u));
  }
  const uint32_t rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

// The smallest half that is not below `value`. `value` is in [0, kMaxHalf].
inline uint16_t FloatToHalfUp(float value) {
  const uint16_t nearest = FloatToHalf(value);
  return HalfToFloat(nearest) < value ? static_cast<uint16_t>(nearest + 1) : nearest;
}

inline float BFloat16ToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

}  // namespace polarkv

#endif  // POLARKV_CODEC_HALF_FLOAT_H_
