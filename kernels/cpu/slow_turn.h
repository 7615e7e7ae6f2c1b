// Cosines and sines of pairs that RoPE turns slowly, as polynomials of the position, so that the polynomials of many pairs can
// be added before they are evaluated.
//
// Let x be the distance from a tile's middle, at most 31.5, y = x / 31.5 and w the angle at 31.5. cos(w y) is the polynomial
// sum of (-w^2)^k / (2k)! u^k of u = y^2, sin(w y) is w y times that of (-w^2)^k / (2k + 1)! u^k. Of each the terms u^4 and u^5
// are replaced by the polynomials of degree 3 that are nearest to them on [0, 1] (u^4 less T4*(u) / 128, Chebyshev's of 2u - 1): for
// w <= 1 both are within 2e-7.
#ifndef POLARKV_KERNELS_CPU_SLOW_TURN_H_
#define POLARKV_KERNELS_CPU_SLOW_TURN_H_

#include <cstdint>

#include "kernels/cpu/key_mean_sums.h"

namespace polarkv::cpu {

struct SlowTerms {
  float cosine[kSlowTerms] = {}, sine[kSlowTerms] = {};
};

// `phase`: turns times 2^64 per position. At most a radian in 31.5 positions.
inline bool IsSlow(uint64_t phase) { return static_cast<double>(phase) * 0x1p-64 * (2 * 3.14159265358979) * 31.5 <= 1; }

// What the powers of u in cos(w y) and those of u times y in sin(w y) are to be multiplied with.
inline SlowTerms CoefficientsOf(uint64_t phase) {
  const double w = static_cast<double>(phase) * 0x1p-64 * (2 * 3.14159265358979) * 31.5, v = -w * w;
  // u^4 = 2 u^3 - 5/4 u^2 + 1/4 u - 1/128, nearly; and u^5 is u times that.
  constexpr double kFourth[kSlowTerms] = {-1.0 / 128, 1.0 / 4, -5.0 / 4, 2};
  const auto economised = [&](double factorial, uint32_t first, double unit, float* out) {
    double term[6];
    for (uint32_t k = 0; k < 6; ++k) {
      term[k] = unit / factorial;
      unit *= v;
      factorial *= (2 * k + first) * (2 * k + first + 1);
    }
    const double fourth = term[4] + 2 * term[5];
    const double shifted[kSlowTerms] = {0, kFourth[0], kFourth[1], kFourth[2]};
    for (uint32_t k = 0; k < kSlowTerms; ++k) {
      out[k] = static_cast<float>(term[k] + fourth * kFourth[k] + term[5] * shifted[k]);
    }
  };
  SlowTerms out;
  economised(1, 1, 1, out.cosine);
  economised(1, 2, w, out.sine);
  return out;
}

// The powers of u, and those times y.
inline SlowTerms PowersAt(float x) {
  const float y = x / 31.5f;
  SlowTerms out;
  float power = 1;
  for (uint32_t k = 0; k < kSlowTerms; ++k, power *= y * y) {
    out.cosine[k] = power;
    out.sine[k] = power * y;
  }
  return out;
}

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_SLOW_TURN_H_
