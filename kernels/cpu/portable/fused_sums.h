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

#if POLARKV_HAS_FUSED

// a * b + c, rounded once.
HWY_INLINE FloatVector FusedMulAdd(FloatVector a, FloatVector b, FloatVector c) { return hn::MulAdd(a, b, c); }

// The integers nearest to a * b, ties to even, below 2^22.
HWY_INLINE WordVector RoundedProducts(FloatVector a, FloatVector b) {
  const FloatVector unit = hn::Set(kF32, 0x1.8p23f);  // beside it there are no bits below 1
  return hn::Sub(hn::BitCast(kI32, hn::MulAdd(a, b, unit)), hn::BitCast(kI32, unit));
}

#else

// Two floats as doubles, in which products of two floats are exact.
typedef double Doubles __attribute__((vector_size(16)));
typedef int64_t Longs __attribute__((vector_size(16)));

#if POLARKV_X86_VECTORS
HWY_INLINE Doubles Lower(FloatVector x) { return (Doubles)_mm_cvtps_pd(x.raw); }
HWY_INLINE Doubles Upper(FloatVector x) { return (Doubles)_mm_cvtps_pd(_mm_movehl_ps(x.raw, x.raw)); }
HWY_INLINE FloatVector ToFloats(Doubles lower, Doubles upper) {
  return FloatVector{_mm_movelh_ps(_mm_cvtpd_ps((__m128d)lower), _mm_cvtpd_ps((__m128d)upper))};
}
HWY_INLINE WordVector LowerWords(Longs a, Longs b) {
  return WordVector{_mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps((__m128i)a), _mm_castsi128_ps((__m128i)b), 0x88))};
}
#else
HWY_INLINE Doubles Lower(FloatVector x) { return (Doubles)wasm_f64x2_promote_low_f32x4(x.raw); }
HWY_INLINE Doubles Upper(FloatVector x) {
  return (Doubles)wasm_f64x2_promote_low_f32x4(wasm_i64x2_shuffle((v128_t)x.raw, (v128_t)x.raw, 1, 1));
}
HWY_INLINE FloatVector ToFloats(Doubles lower, Doubles upper) {
  const v128_t a = wasm_f32x4_demote_f64x2_zero((v128_t)lower), b = wasm_f32x4_demote_f64x2_zero((v128_t)upper);
  return FloatVector{(decltype(FloatVector::raw))wasm_i64x2_shuffle(a, b, 0, 2)};
}
HWY_INLINE WordVector LowerWords(Longs a, Longs b) {
  return WordVector{(decltype(WordVector::raw))wasm_i32x4_shuffle((v128_t)a, (v128_t)b, 0, 2, 4, 6)};
}
#endif

// a * b + c, rounded to odd: of the doubles at both sides of a number that is none, the one with the last bit set. Rounded to
// a float, that gives what the number itself does. `rest` is what a sum rounded to nearest lacks (Knuth's TwoSum).
HWY_INLINE Doubles MulAddToOdd(Doubles a, Doubles b, Doubles c) {
  const Doubles product = a * b, sum = product + c, part = sum - product;
  const Doubles rest = (product - (sum - part)) + (c - part);
  const Longs bits = (Longs)sum, negative = (Longs)(sum < 0.0), even = (bits & 1) - 1;
  const Longs outwards = (((Longs)(rest < 0.0) - (Longs)(rest > 0.0)) ^ negative) - negative;  // 1, -1; 0: it is exact
  return (Doubles)(bits + (outwards & even));
}

HWY_INLINE FloatVector FusedMulAdd(FloatVector a, FloatVector b, FloatVector c) {
  return ToFloats(MulAddToOdd(Lower(a), Lower(b), Lower(c)), MulAddToOdd(Upper(a), Upper(b), Upper(c)));
}

HWY_INLINE WordVector RoundedProducts(FloatVector a, FloatVector b) {
  return LowerWords((Longs)(Lower(a) * Lower(b) + 0x1.8p52), (Longs)(Upper(a) * Upper(b) + 0x1.8p52));
}

#endif

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
