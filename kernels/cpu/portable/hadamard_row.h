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

// -1 in lanes that have kStride set, 1 in the others.
struct LaneSigns {
  alignas(32) int16_t sign[16];
};
template <uint32_t kStride>
inline constexpr LaneSigns kLaneSigns = [] {
  LaneSigns lanes{};
  for (uint32_t i = 0; i < 16; ++i) lanes.sign[i] = (i & kStride) != 0 ? -1 : 1;
  return lanes;
}();

// Lanes i and i + kStride become their sum and difference.
template <uint32_t kStride>
HWY_INLINE ShortVector ButterflyInside(ShortVector x) {
  const ShortVector sign = hn::Load(kI16, kLaneSigns<kStride>.sign);
#if HWY_TARGET == HWY_AVX2
  return hn::Add(Exchange<kStride>(x), ShortVector{_mm256_sign_epi16(x.raw, sign.raw)});
#elif POLARKV_X86_VECTORS
  return hn::Add(Exchange<kStride>(x), ShortVector{_mm_sign_epi16(x.raw, sign.raw)});
#else
  return hn::Add(Exchange<kStride>(x), hn::Mul(x, sign));
#endif
}

// The transforms of kVectors vectors' numbers, in registers.
template <uint32_t kVectors>
HWY_INLINE void HadamardRun(int16_t* row) {
  ShortVector x[kVectors];
  for (uint32_t i = 0; i < kVectors; ++i) {
    x[i] = ButterflyInside<4>(ButterflyInside<2>(ButterflyInside<1>(hn::LoadU(kI16, row + i * kShortLanes))));
    if constexpr (kShortLanes == 16) x[i] = ButterflyInside<8>(x[i]);
  }
  for (uint32_t stride = 1; stride < kVectors; stride *= 2) {
    for (uint32_t i = 0; i < kVectors; ++i) {
      if ((i & stride) != 0) continue;
      const ShortVector a = x[i], b = x[i + stride];
      x[i] = hn::Add(a, b);
      x[i + stride] = hn::Sub(a, b);
    }
  }
  for (uint32_t i = 0; i < kVectors; ++i) hn::StoreU(x[i], kI16, row + i * kShortLanes);
}

// row: [dims], dims and `block` multiples of kShortLanes.
inline void HadamardRow(int16_t* row, uint32_t dims, uint32_t block) {
  constexpr uint32_t kMostVectors = 8;
  const uint32_t vectors = block / kShortLanes < kMostVectors ? block / kShortLanes : kMostVectors, run = vectors * kShortLanes;
  for (uint32_t i = 0; i < dims; i += run) {
    if (vectors == 8) HadamardRun<8>(row + i);
    if (vectors == 4) HadamardRun<4>(row + i);
    if (vectors == 2) HadamardRun<2>(row + i);
    if (vectors == 1) HadamardRun<1>(row + i);
  }
  for (uint32_t stride = run; stride < block; stride *= 2) {
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
