// Numbers of 106 bits as unevaluated sums of two doubles, for constants that must come out the same everywhere: only
// additions, products, divisions and fma of doubles, so IEEE 754 fixes every bit, and no library's pow takes part.
// Round to nearest must be set. Algorithms: Dekker 1971; Shewchuk 1997, "Adaptive Precision Floating-Point Arithmetic".
#ifndef POLARKV_CODEC_DOUBLE_DOUBLE_H_
#define POLARKV_CODEC_DOUBLE_DOUBLE_H_

#include <cmath>

namespace polarkv {

struct DoubleDouble {
  double hi = 0, lo = 0;  // |lo| <= half an ulp of hi
};

// a + b, of which a is not the smaller one.
inline DoubleDouble QuickSum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

inline DoubleDouble operator+(DoubleDouble a, DoubleDouble b) {
  const double sum = a.hi + b.hi;
  const double back = sum - a.hi;
  const double error = (a.hi - (sum - back)) + (b.hi - back);
  return QuickSum(sum, error + (a.lo + b.lo));
}

inline DoubleDouble operator-(DoubleDouble a) { return {-a.hi, -a.lo}; }

inline DoubleDouble operator*(DoubleDouble a, DoubleDouble b) {
  const double product = a.hi * b.hi;
  const double error = std::fma(a.hi, b.hi, -product);
  return QuickSum(product, error + (a.hi * b.lo + a.lo * b.hi));
}

inline DoubleDouble operator/(DoubleDouble a, DoubleDouble b) {
  const double first = a.hi / b.hi;
  const DoubleDouble rest = a + -(b * DoubleDouble{first, 0});
  const double second = rest.hi / b.hi;
  const DoubleDouble last = rest + -(b * DoubleDouble{second, 0});
  return QuickSum(first, second) + DoubleDouble{last.hi / b.hi, 0};
}

inline constexpr DoubleDouble kLn2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};

// Natural logarithm of a positive, finite double, to 2^-100.
inline DoubleDouble Log(double x) {
  int exponent;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < 0.70710678118654752) mantissa *= 2, --exponent;
  // ln m = 2 artanh z = 2 (z + z^3 / 3 + ...), z = (m - 1) / (m + 1), at most .1716.
  const DoubleDouble z = DoubleDouble{mantissa - 1, 0} / (DoubleDouble{mantissa, 0} + DoubleDouble{1, 0});
  const DoubleDouble square = z * z;
  DoubleDouble series;
  for (int odd = 43; odd >= 1; odd -= 2) series = series * square + DoubleDouble{1, 0} / DoubleDouble{1.0 * odd, 0};
  return z * series * DoubleDouble{2, 0} + kLn2 * DoubleDouble{1.0 * exponent, 0};
}

// e^x for |x| up to 700, to 2^-98 of it and what x is not exact by.
inline DoubleDouble Exp(DoubleDouble x) {
  const double powers = std::floor(x.hi / kLn2.hi + 0.5);
  const DoubleDouble rest = x + -(kLn2 * DoubleDouble{powers, 0});
  DoubleDouble series = {1, 0};
  for (int n = 27; n >= 1; --n) series = series * rest / DoubleDouble{1.0 * n, 0} + DoubleDouble{1, 0};
  const int exponent = static_cast<int>(powers);
  return {std::ldexp(series.hi, exponent), std::ldexp(series.lo, exponent)};
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_DOUBLE_DOUBLE_H_
