// Rotated coordinates -> bits of turbo codes, four coordinates a word (FORMAT.md, "Turbo codes").
#ifndef POLARKV_KERNELS_CUDA_TURBO_LEVELS_H_
#define POLARKV_KERNELS_CUDA_TURBO_LEVELS_H_

#include "codec/turbo_codebook.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

// Bit 7 of each byte is one bit of a coordinate's code, but that `low`, `third` and `fourth` are those of the level, of
// which a code below the middle has the complement; the other bits have no meaning.
template <class W>
struct CodeBits {
  typename W::U32 high, low;      // of the crumb
  typename W::U32 third, fourth;  // below it; of codes that have them
};

// Thresholds are multiples of 32. Added to four magnitudes in steps of 32, this carries into a byte's bit 7 where they
// reach the threshold.
template <uint32_t kBits, uint32_t kThreshold>
inline constexpr uint32_t kThresholdBias = (0x80u - static_cast<uint32_t>(TurboThresholds<kBits>()[kThreshold]) / 32) *
                                           0x01010101u;

// `first`, `second`: two signed coordinates of 16 bits each. Bytes 0 and 2 are those of `first`, 1 and 3 of `second`.
// The thresholds reached are a run of ones; the level's bits are logic operations on it.
template <uint32_t kBits, class W>
POLARKV_WARP_FUNCTION CodeBits<W> CodesOf(typename W::U32 first, typename W::U32 second) {
  using U32 = typename W::U32;
  constexpr uint32_t kOnes = 0xFFFFFFFFu;
  // Between -4096 and 4095, beyond which there are no thresholds, plus 4096: 13 bits, the upper eight of which count.
  const U32 a13 = W::ClampToSteps(first), b13 = W::ClampToSteps(second);
  const U32 steps = W::SelectBits(0x00FF00FFu, a13 >> 5, b13 << 3);
  const U32 above = W::Permute(steps, U32(0u), U32(0xBA98u));   // all ones: not negative
  const U32 magnitude = (steps ^ above ^ kOnes) & 0x7F7F7F7Fu;  // of y, or of -1 - y
  CodeBits<W> bits{steps, U32(0u), U32(0u), U32(0u)};
  if constexpr (kBits == 2) {
    bits.low = magnitude + kThresholdBias<2, 0>;
  } else if constexpr (kBits == 3) {
    const U32 a = magnitude + kThresholdBias<3, 0>;
    const U32 b = magnitude + kThresholdBias<3, 1>;
    const U32 c = magnitude + kThresholdBias<3, 2>;
    bits.low = b;
    bits.third = a ^ b ^ c;
  } else {
    static_assert(kBits == 4);
    const U32 a = magnitude + kThresholdBias<4, 0>;
    const U32 b = magnitude + kThresholdBias<4, 1>;
    const U32 c = magnitude + kThresholdBias<4, 2>;
    const U32 d = magnitude + kThresholdBias<4, 3>;
    const U32 e = magnitude + kThresholdBias<4, 4>;
    const U32 f = magnitude + kThresholdBias<4, 5>;
    const U32 g = magnitude + kThresholdBias<4, 6>;
    bits.low = d;
    bits.third = (b & (d ^ kOnes)) | f;
    bits.fourth = a ^ b ^ c ^ d ^ e ^ f ^ g;
  }
  return bits;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TURBO_LEVELS_H_
