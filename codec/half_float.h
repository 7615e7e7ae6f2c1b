// IEEE half precision and bfloat16 as bit patterns. All functions are pure.
#ifndef POLARKV_CODEC_HALF_FLOAT_H_
#define POLARKV_CODEC_HALF_FLOAT_H_

#include <bit>
#include <cstdint>

namespace polarkv {

inline constexpr float kMaxHalf = 65504.0f;

// Exact, subnormals included; infinities and NaNs stay what they are. No branches, so that loops vectorize.
inline float HalfToFloat(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t fields = uint32_t{half & 0x7FFFu} << 13;
  // The half's fields, read as a float's, are the value times 2^-112; the product is exact.
  const uint32_t value = std::bit_cast<uint32_t>(std::bit_cast<float>(fields) * 0x1p112f);
  return std::bit_cast<float>(sign | (fields < 0x0F800000u ? value : fields | 0x7F800000u));
}

// Round to nearest, ties to even; beyond the largest half: infinity. No branches either.
inline uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  const uint32_t normal = (magnitude + 0xFFFu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
  // Adding 1/2 to a subnormal half leaves it in units of 2^-24 in the low bits, rounded by the addition.
  const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
  uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x477FF000u ? 0x7C00u : half;
  half = magnitude > 0x7F800000u ? 0x7E00u : half;
  return static_cast<uint16_t>(sign | half);
}

// The smallest half that is not below `value`. `value` is in [0, kMaxHalf].
inline uint16_t FloatToHalfUp(float value) {
  const uint16_t nearest = FloatToHalf(value);
  return HalfToFloat(nearest) < value ? static_cast<uint16_t>(nearest + 1) : nearest;
}

inline float BFloat16ToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

}  // namespace polarkv

#endif  // POLARKV_CODEC_HALF_FLOAT_H_
