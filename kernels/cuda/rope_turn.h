// RoPE's rotation of a pair of coordinates on a warp: the bits of codec/rope_phase.h (FORMAT.md, "RoPE phases").
#ifndef POLARKV_KERNELS_CUDA_ROPE_TURN_H_
#define POLARKV_KERNELS_CUDA_ROPE_TURN_H_

#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

template <class W>
struct Turn {
  typename W::F32 cosine, sine;
};

// The upper half of phase * position mod 2^64: units of 2^-32 turn. Sine and cosine look at no more.
template <class W>
POLARKV_WARP_FUNCTION typename W::U32 UpperTurns(typename W::U32 phase_low, typename W::U32 phase_high,
                                                 typename W::U32 position_low, typename W::U32 position_high) {
  return W::MultiplyHigh(phase_low, position_low) + phase_high * position_low + phase_low * position_high;
}

// Cosine and sine of that angle: DirectionOfTurns.
template <class W>
POLARKV_WARP_FUNCTION Turn<W> TurnOf(typename W::U32 upper) {
  using F32 = typename W::F32;
  using U32 = typename W::U32;
  const U32 quarter = (upper + (1u << 29)) >> 30;
  const F32 u = W::ToFloat(W::AsI32(upper - (quarter << 30))) * 0x1p-32f;
  const F32 v = u * u;
  F32 s = W::Fma(F32(-0x1.2d9b4p+6f), v, F32(0x1.465ec4p+6f));
  s = W::Fma(s, v, F32(-0x1.4abbbap+5f));
  s = W::Fma(s, v, F32(0x1.921fb6p+2f));
  const F32 sine = u * s;
  F32 c = W::Fma(F32(0x1.d9c2e8p+5f), v, F32(-0x1.55c57ap+6f));
  c = W::Fma(c, v, F32(0x1.03c1dcp+6f));
  c = W::Fma(c, v, F32(-0x1.3bd3ccp+4f));
  const F32 cosine = W::Fma(c, v, F32(1.0f));
  // Odd quarters exchange the two; the cosine is negated in quarters 1 and 2, the sine in 2 and 3.
  const auto odd = (quarter & 1u) > U32(0u);
  const U32 negate_cosine = ((quarter + 1u) & 2u) << 30;
  const U32 negate_sine = (quarter & 2u) << 30;
  return {W::FloatOfBits(W::AsU32(W::Select(odd, sine, cosine)) ^ negate_cosine),
          W::FloatOfBits(W::AsU32(W::Select(odd, cosine, sine)) ^ negate_sine)};
}

// Turns (a, b) as TurnToPosition does; what a float cannot hold becomes the largest one.
template <class W>
POLARKV_WARP_FUNCTION void TurnPair(const Turn<W>& turn, typename W::F32& a, typename W::F32& b) {
  using F32 = typename W::F32;
  const F32 limit = 0x1.FFFFFEp127f, below = -0x1.FFFFFEp127f;
  const F32 turned_a = W::Fma(turn.cosine, a, -(turn.sine * b));
  const F32 turned_b = W::Fma(turn.sine, a, turn.cosine * b);
  a = W::Max(W::Min(turned_a, limit), below);
  b = W::Max(W::Min(turned_b, limit), below);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ROPE_TURN_H_
