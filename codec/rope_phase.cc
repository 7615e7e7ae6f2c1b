#include "codec/rope_phase.h"

#include "absl/strings/str_cat.h"
#include "codec/double_double.h"

namespace polarkv {
namespace {

constexpr DoubleDouble kTurnsOfRadian = {0x1.45f306dc9c883p-3, -0x1.6b01ec5417056p-57};  // 1 / (2 pi)

// A whole number of magnitude up to 2^64, mod 2^64.
uint64_t Wrap(double whole) {
  const double upper = std::floor(whole * 0x1p-32);
  return (static_cast<uint64_t>(static_cast<int64_t>(upper)) << 32) + static_cast<uint64_t>(whole - upper * 0x1p32);
}

// floor(2^64 * x) mod 2^64. Every operation but the sum in `rest` is exact.
uint64_t Fraction(DoubleDouble x) {
  const double hi = (x.hi - std::floor(x.hi)) * 0x1p64;
  const double lo = (std::abs(x.lo) < 1 ? x.lo : x.lo - std::floor(x.lo)) * 0x1p64;
  const double rest = (hi - std::floor(hi)) + lo;
  return Wrap(std::floor(hi)) + Wrap(std::floor(rest));
}

}  // namespace

std::vector<uint64_t> RopePhases(const Rope& rope) {
  std::vector<uint64_t> phases;
  if (rope.pairing == RopePairing::kNone) return phases;
  const DoubleDouble exponent = DoubleDouble{-2, 0} / DoubleDouble{static_cast<double>(rope.dims), 0};
  const DoubleDouble ratio = Exp(Log(static_cast<double>(rope.base)) * exponent);
  DoubleDouble turns = kTurnsOfRadian;
  for (uint32_t j = 0; j < rope.dims / 2u; ++j) {
    phases.push_back(Fraction(turns));
    turns = turns * ratio;
  }
  return phases;
}

absl::Status SettlePhases(BlockSpec& spec) {
  if (spec.rope.pairing == RopePairing::kNone) spec.phases.clear();
  if (spec.phases.empty()) spec.phases = RopePhases(spec.rope);
  const size_t pairs = spec.rope.dims / 2u;
  if (spec.phases.size() == pairs) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("number of phases is ", spec.phases.size(),
                                                 "; valid: none, or rope_dims / 2 (", pairs, ") under RoPE"));
}

}  // namespace polarkv
