#include "codec/rope_phase.h"

#include <numbers>

#include "absl/strings/str_cat.h"

namespace polarkv {

std::vector<uint64_t> RopePhases(const Rope& rope) {
  std::vector<uint64_t> phases;
  if (rope.pairing == RopePairing::kNone) return phases;
  for (uint32_t j = 0; j < rope.dims / 2u; ++j) {
    const long double exponent = -2.0L * j / rope.dims;
    const long double turns =
        std::pow(static_cast<long double>(rope.base), exponent) / (2 * std::numbers::pi_v<long double>);
    const long double fraction = turns - std::floor(turns);
    phases.push_back(static_cast<uint64_t>(fraction * 0x1p64L));
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
