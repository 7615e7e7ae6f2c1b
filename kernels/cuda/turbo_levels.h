// Rotated coordinates -> bits of turbo codes, two coordinates a word (FORMAT.md, "Turbo codes").
#ifndef POLARKV_KERNELS_CUDA_TURBO_LEVELS_H_
#define POLARKV_KERNELS_CUDA_TURBO_LEVELS_H_

#include "codec/turbo_codebook.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

// Bits 31 and 15 of each word are one bit of the upper and the lower coordinate's code; the others have no meaning.
template <class W>
struct CodeBits {
  typename W::U32 high, low;       // of the crumb
  typename W::U32 third, fourth;   // below it; of codes that have them
};

// Added to two magnitudes below 2^15, it carries into bits 31 and 15 where they reach the threshold.
template <uint32_t kBits, uint32_t kThreshold>
inline constexpr uint32_t kThresholdBias =
    (0x8000u - static_cast<uint32_t>(TurboThresholds<kBits>()[kThreshold])) * 0x10001u;

// `coordinates`: two integers of 16 bits as packed_rotation.h has them, plus 0x80008000, so that the halves are the two
// plus 2^15. The thresholds reached are a run of ones; the level's bits are logic operations on it. Codes below the
// middle are the complements of their levels.
template <uint32_t kBits, class W>
POLARKV_WARP_FUNCTION CodeBits<W> CodesOf(typename W::U32 coordinates) {
  using U32 = typename W::U32;
  constexpr uint32_t kOnes = 0xFFFFFFFFu;
  // All ones in the halves of coordinates that are not negative: bytes of their sign.
  const U32 above = W::Permute(coordinates, U32(0u), U32(0xBB99u));
  const U32 magnitude = (coordinates ^ above ^ kOnes) & 0x7FFF7FFFu;  // y, or -1 - y
  CodeBits<W> bits{coordinates, U32(0u), U32(0u), U32(0u)};
  const U32 flip = coordinates ^ kOnes;
  if constexpr (kBits == 2) {
    bits.low = (magnitude + kThresholdBias<2, 0>) ^ flip;
  } else if constexpr (kBits == 3) {
    const U32 a = magnitude + kThresholdBias<3, 0>;
    const U32 b = magnitude + kThresholdBias<3, 1>;
    const U32 c = magnitude + kThresholdBias<3, 2>;
    bits.low = b ^ flip;
    bits.third = a ^ b ^ c ^ flip;
  } else {
    static_assert(kBits == 4);
    const U32 a = magnitude + kThresholdBias<4, 0>;
    const U32 b = magnitude + kThresholdBias<4, 1>;
    const U32 c = magnitude + kThresholdBias<4, 2>;
    const U32 d = magnitude + kThresholdBias<4, 3>;
    const U32 e = magnitude + kThresholdBias<4, 4>;
    const U32 f = magnitude + kThresholdBias<4, 5>;
    const U32 g = magnitude + kThresholdBias<4, 6>;
    bits.low = d ^ flip;
    bits.third = ((b & (d ^ kOnes)) | f) ^ flip;
    bits.fourth = a ^ b ^ c ^ d ^ e ^ f ^ g ^ flip;
  }
  return bits;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TURBO_LEVELS_H_
