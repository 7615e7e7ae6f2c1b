// The largest magnitude of many floats.
#ifndef POLARKV_CODEC_LARGEST_MAGNITUDE_H_
#define POLARKV_CODEC_LARGEST_MAGNITUDE_H_

#include <bit>
#include <cstdint>

namespace polarkv {

// `values` are finite. Compared as integers, which order as magnitudes do and vectorize.
[[gnu::always_inline]] inline float LargestMagnitude(const float* values, uint32_t count) {
  uint32_t largest = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(values[i]) & 0x7FFFFFFFu;
    largest = magnitude > largest ? magnitude : largest;
  }
  return std::bit_cast<float>(largest);
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_LARGEST_MAGNITUDE_H_
