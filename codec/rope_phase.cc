#include "codec/rope_phase.h"

#include <numbers>

namespace polarkv {

std::vector<uint64_t> RopePhases(const Rope& rope) {
  std::vector<uint64_t> phases;
  if (rope.pairing == RopePairing::kNone) return phases;
  for (uint32_t j = 0; j < rope.dims / 2u; ++j) {
    const long double exponent = -2.0L * j / rope.dims;
    const long double turns = std::pow(static_cast<long double>(rope.base), exponent) / (2 * std::numbers::pi_v<long double>);
    const long double fraction = turns - std::floor(turns);
    phases.push_back(static_cast<uint64_t>(fraction * 0x1p64L));
  }
  return phases;
}

}  // namespace polarkv
