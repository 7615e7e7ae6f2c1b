// Vectors of the instruction set that a source is compiled for, POLARKV_TARGET being the namespace of its bodies, and the
// few operations that Highway lacks. For the sources of this folder only: everything is in that namespace or internal, so
// that one program can hold the same body for several sets.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_TARGET_VECTORS_H_
#define POLARKV_KERNELS_CPU_PORTABLE_TARGET_VECTORS_H_

#include <hwy/highway.h>

#include <cstdint>

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_SSSE3
#define POLARKV_X86_VECTORS 1
#else
#define POLARKV_X86_VECTORS 0
#endif

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr hn::ScalableTag<uint8_t> kU8;
inline constexpr hn::ScalableTag<int8_t> kI8;
inline constexpr hn::ScalableTag<int16_t> kI16;
inline constexpr hn::ScalableTag<uint16_t> kU16;
inline constexpr hn::ScalableTag<int32_t> kI32;
inline constexpr hn::ScalableTag<float> kF32;
inline constexpr hn::Rebind<uint8_t, hn::ScalableTag<int32_t>> kFewU8;  // as many as there are 32-bit lanes
inline constexpr hn::Full128<uint8_t> kBlock;                             // byte permutes work in blocks of 16
inline constexpr hn::Half<hn::Full128<uint8_t>> kHalfBlock;

using ByteVector = hn::Vec<hn::ScalableTag<uint8_t>>;
using WordVector = hn::Vec<hn::ScalableTag<int32_t>>;
using FloatVector = hn::Vec<hn::ScalableTag<float>>;

inline constexpr uint32_t kVectorBytes = HWY_LANES(uint8_t);
inline constexpr uint32_t kWordLanes = HWY_LANES(int32_t);

// first = mask ? a : b, second = mask ? b : a, bit by bit.
HWY_INLINE void Swap(ByteVector mask, ByteVector a, ByteVector b, ByteVector& first, ByteVector& second) {
#if POLARKV_X86_VECTORS
  const ByteVector differ = hn::And(hn::Xor(a, b), mask);
  first = hn::Xor(b, differ);
  second = hn::Xor(a, differ);
#else
  first = hn::IfVecThenElse(mask, a, b);
  second = hn::IfVecThenElse(mask, b, a);
#endif
}

// Bits of `a` where the mask is set, of `b` elsewhere.
HWY_INLINE ByteVector Mix(uint8_t mask, ByteVector a, ByteVector b) {
  const ByteVector bits = hn::Set(kU8, mask);
#if POLARKV_X86_VECTORS
  return hn::Xor(b, hn::And(hn::Xor(a, b), bits));
#else
  return hn::IfVecThenElse(bits, a, b);
#endif
}

// 32-bit words, to the right.
template <int kBits>
HWY_INLINE ByteVector RotateWords(ByteVector bytes) {
  const auto words = hn::BitCast(hn::Repartition<uint32_t, decltype(kU8)>(), bytes);
  return hn::BitCast(kU8, hn::Or(hn::ShiftRight<kBits>(words), hn::ShiftLeft<32 - kBits>(words)));
}

// Sixteen bytes in every block.
HWY_INLINE ByteVector LoadBlocks(const void* p) { return hn::LoadDup128(kU8, static_cast<const uint8_t*>(p)); }

// sum + a pair of 16-bit products in each 32-bit lane.
template <typename Shorts>
HWY_INLINE WordVector AddPairs(WordVector sum, Shorts a, Shorts b) {
#if HWY_TARGET == HWY_AVX2
  return hn::Add(sum, WordVector{_mm256_madd_epi16(a.raw, b.raw)});
#elif POLARKV_X86_VECTORS
  return hn::Add(sum, WordVector{_mm_madd_epi16(a.raw, b.raw)});
#elif HWY_TARGET == HWY_NEON
  const int32x4_t low = vmull_s16(vget_low_s16(a.raw), vget_low_s16(b.raw));
  return hn::Add(sum, WordVector{vpaddq_s32(low, vmull_high_s16(a.raw, b.raw))});
#elif HWY_TARGET == HWY_WASM
  return hn::Add(sum, WordVector{wasm_i32x4_dot_i16x8(a.raw, b.raw)});
#else
#error "no product of pairs for this target"
#endif
}

// 2^x in two factors, integer and fraction: x = integer + fraction, the fraction being at most a half.
struct SplitExponent {
  WordVector integer;
  FloatVector fraction;
};
HWY_INLINE SplitExponent Split(FloatVector x) {
  const FloatVector to_integer = hn::Set(kF32, 0x1.8p23f);  // adding it leaves the nearest integer in the low bits
  const FloatVector shifted = hn::Add(x, to_integer);
  const WordVector bits = hn::Sub(hn::BitCast(kI32, shifted), hn::BitCast(kI32, to_integer));
  return {bits, hn::Sub(x, hn::Sub(shifted, to_integer))};
}

// 2^x for x <= 0, up to rounding; below 2^-126 that, which no weight and no sum notices, for NaN too. Relative error below
// 3e-6: the polynomial of degree 4 whose largest relative error on [-1/2, 1/2] is least.
HWY_INLINE FloatVector Exp2(FloatVector x) {
  const SplitExponent part = Split(hn::IfThenElse(hn::Ge(x, hn::Set(kF32, -126.0f)), x, hn::Set(kF32, -126.0f)));
  FloatVector y = hn::MulAdd(part.fraction, hn::Set(kF32, 9.57010201e-3f), hn::Set(kF32, 5.59178603e-2f));
  y = hn::MulAdd(y, part.fraction, hn::Set(kF32, 2.40247448e-1f));
  y = hn::MulAdd(y, part.fraction, hn::Set(kF32, 6.93121815e-1f));
  y = hn::MulAdd(y, part.fraction, hn::Set(kF32, 9.99999261e-1f));
  return hn::BitCast(kF32, hn::Add(hn::BitCast(kI32, y), hn::ShiftLeft<23>(part.integer)));
}

// 2^x, to fp32's rounding, for any x; what is below the smallest or above the largest float becomes 0 or infinity.
HWY_INLINE FloatVector PreciseExp2(FloatVector x) {
  const SplitExponent part = Split(hn::Min(hn::Max(x, hn::Set(kF32, -252.0f)), hn::Set(kF32, 254.0f)));
  FloatVector y = hn::MulAdd(part.fraction, hn::Set(kF32, 1.53458124e-4f), hn::Set(kF32, 1.33999309e-3f));
  y = hn::MulAdd(y, part.fraction, hn::Set(kF32, 9.61848907e-3f));
  y = hn::MulAdd(y, part.fraction, hn::Set(kF32, 5.55032864e-2f));
  y = hn::MulAdd(y, part.fraction, hn::Set(kF32, 2.40226462e-1f));
  y = hn::MulAdd(y, part.fraction, hn::Set(kF32, 6.93147182e-1f));
  y = hn::MulAdd(y, part.fraction, hn::Set(kF32, 1.0f));
  const WordVector half = hn::ShiftRight<1>(part.integer);
  const auto power = [](WordVector exponent) {
    return hn::BitCast(kF32, hn::ShiftLeft<23>(hn::Add(exponent, hn::Set(kI32, 127))));
  };
  return hn::Mul(hn::Mul(y, power(half)), power(hn::Sub(part.integer, half)));
}

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_TARGET_VECTORS_H_
