// The encoders' float arithmetic: products and sums rounded once, with or without an instruction for that, and sums in the
// order of FORMAT.md's Sum.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_FUSED_SUMS_H_
#define POLARKV_KERNELS_CPU_PORTABLE_FUSED_SUMS_H_

#include "kernels/cpu/portable/target_vectors.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_NEON
#define POLARKV_HAS_FUSED 1
#else
#define POLARKV_HAS_FUSED 0
#endif

HWY_BEFORE_NAMESPACE();
namespace polarkv::cpu::POLARKV_TARGET {
namespace {

#if !POLARKV_HAS_FUSED
// Four floats as doubles, in which products of two floats are exact.
typedef float Floats4 __attribute__((vector_size(16)));
typedef int32_t Words4 __attribute__((vector_size(16)));
typedef double Doubles4 __attribute__((vector_size(32)));
typedef int64_t Longs4 __attribute__((vector_size(32)));

HWY_INLINE void ToDoubles(FloatVector x, Doubles4& out) {
  Floats4 floats;
  __builtin_memcpy(&floats, &x.raw, sizeof floats);
  out = __builtin_convertvector(floats, Doubles4);
}
#endif

// a * b + c, rounded once.
HWY_INLINE FloatVector FusedMulAdd(FloatVector a, FloatVector b, FloatVector c) {
#if POLARKV_HAS_FUSED
  return hn::MulAdd(a, b, c);
#else
  // The sum is rounded to odd first: of the doubles at both sides of one that is none, the one with the last bit set. Rounded
  // to a float, that gives what the exact sum does. `rest` is what a sum rounded to nearest lacks (Knuth's TwoSum).
  Doubles4 x, y, addend;
  ToDoubles(a, x);
  ToDoubles(b, y);
  ToDoubles(c, addend);
  const Doubles4 product = x * y;
  Doubles4 sum = product + addend;
  const Doubles4 part = sum - product;
  const Doubles4 rest = (product - (sum - part)) + (addend - part);
  Longs4 bits;
  __builtin_memcpy(&bits, &sum, sizeof bits);
  const Longs4 negative = sum < 0.0, even = (bits & 1) - 1;
  const Longs4 outwards = (((rest < 0.0) - (rest > 0.0)) ^ negative) - negative;  // 1, -1, or 0 if the sum is exact
  bits += outwards & even;
  __builtin_memcpy(&sum, &bits, sizeof bits);
  const Floats4 rounded = __builtin_convertvector(sum, Floats4);
  FloatVector out = hn::Zero(kF32);
  __builtin_memcpy(&out.raw, &rounded, sizeof rounded);
  return out;
#endif
}

// The integers nearest to a * b, ties to even, below 2^22.
HWY_INLINE WordVector RoundedProducts(FloatVector a, FloatVector b) {
#if POLARKV_HAS_FUSED
  const FloatVector unit = hn::Set(kF32, 0x1.8p23f);  // beside it there are no bits below 1
  return hn::Sub(hn::BitCast(kI32, hn::MulAdd(a, b, unit)), hn::BitCast(kI32, unit));
#else
  Doubles4 x, y;
  ToDoubles(a, x);
  ToDoubles(b, y);
  const Doubles4 shifted = x * y + 0x1.8p52;
  Longs4 bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  const Words4 lower = __builtin_convertvector(bits, Words4);
  WordVector out = hn::Zero(kI32);
  __builtin_memcpy(&out.raw, &lower, sizeof lower);
  return out;
#endif
}

// FORMAT.md's Sum has 32 partial sums, of coordinates that are equal modulo 32; then neighbours are added, and so on.
inline constexpr uint32_t kPartialSums = 32;
inline constexpr uint32_t kSumVectors = kPartialSums / kWordLanes;  // of one row

// Sums of neighbours in `low`, then in `high`.
template <class Tag, class Vector>
HWY_INLINE Vector AddNeighbours(Tag tag, Vector low, Vector high) {
  return hn::Add(hn::ConcatEven(tag, high, low), hn::ConcatOdd(tag, high, low));
}

// Partial sums of kWordLanes rows, one row after the other -> the rows' sums.
HWY_INLINE FloatVector SumRows(FloatVector partial[kPartialSums]) {
  for (uint32_t count = kPartialSums; count > 1; count /= 2) {
    for (uint32_t i = 0; i < count / 2; ++i) partial[i] = AddNeighbours(kF32, partial[2 * i], partial[2 * i + 1]);
  }
  return partial[0];
}

// Lane i of the result: the sum over the lanes of in[i], of integers.
HWY_INLINE WordVector SumLanes(WordVector in[kWordLanes]) {
  for (uint32_t count = kWordLanes; count > 1; count /= 2) {
    for (uint32_t i = 0; i < count / 2; ++i) in[i] = AddNeighbours(kI32, in[2 * i], in[2 * i + 1]);
  }
  return in[0];
}

}  // namespace
}  // namespace polarkv::cpu::POLARKV_TARGET
HWY_AFTER_NAMESPACE();

#endif  // POLARKV_KERNELS_CPU_PORTABLE_FUSED_SUMS_H_
