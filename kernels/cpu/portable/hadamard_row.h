// Hadamard transforms of rows of 16-bit integers: exact, so that the steps' order does not matter.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_HADAMARD_ROW_H_
#define POLARKV_KERNELS_CPU_PORTABLE_HADAMARD_ROW_H_

#include "kernels/cpu/portable/target_vectors.h"

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

using ShortVector = hn::Vec<hn::ScalableTag<int16_t>>;
inline constexpr uint32_t kShortLanes = kVectorBytes / 2;

// Lane i <- lane i ^ kStride.
template <uint32_t kStride>
HWY_INLINE ShortVector Exchange(ShortVector x) {
#if HWY_TARGET == HWY_AVX2
  if constexpr (kStride == 8) return ShortVector{_mm256_permute4x64_epi64(x.raw, 0x4E)};
#endif
  if constexpr (kStride == 4) return hn::BitCast(kI16, hn::Shuffle1032(hn::BitCast(kI32, x)));
  if constexpr (kStride == 2) return hn::BitCast(kI16, hn::Shuffle2301(hn::BitCast(kI32, x)));
  alignas(16) static constexpr uint8_t kNeighbours[16] = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
  return hn::BitCast(kI16, hn::TableLookupBytes(hn::BitCast(kU8, x), LoadBlocks(kNeighbours)));
}

// All bits set in lanes that have kStride set.
struct UpperLanes {
  alignas(32) int16_t mask[16];
};
template <uint32_t kStride>
inline constexpr UpperLanes kUpperLanes = [] {
  UpperLanes lanes{};
  for (uint32_t i = 0; i < 16; ++i) lanes.mask[i] = (i & kStride) != 0 ? -1 : 0;
  return lanes;
}();

// Lanes i and i + kStride become their sum and difference.
template <uint32_t kStride>
HWY_INLINE ShortVector ButterflyInside(ShortVector x) {
  const ShortVector upper = hn::Load(kI16, kUpperLanes<kStride>.mask);
  return hn::Sub(hn::Add(Exchange<kStride>(x), hn::Xor(x, upper)), upper);
}

// row: [dims], dims and `block` multiples of kShortLanes.
inline void HadamardRow(int16_t* row, uint32_t dims, uint32_t block) {
  for (uint32_t i = 0; i < dims; i += kShortLanes) {
    ShortVector x = ButterflyInside<4>(ButterflyInside<2>(ButterflyInside<1>(hn::LoadU(kI16, row + i))));
    if constexpr (kShortLanes == 16) x = ButterflyInside<8>(x);
    hn::StoreU(x, kI16, row + i);
  }
  for (uint32_t stride = kShortLanes; stride < block; stride *= 2) {
    for (uint32_t first = 0; first < dims; first += 2 * stride) {
      for (uint32_t i = first; i < first + stride; i += kShortLanes) {
        const ShortVector a = hn::LoadU(kI16, row + i), b = hn::LoadU(kI16, row + i + stride);
        hn::StoreU(hn::Add(a, b), kI16, row + i);
        hn::StoreU(hn::Sub(a, b), kI16, row + i + stride);
      }
    }
  }
}

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_HADAMARD_ROW_H_
