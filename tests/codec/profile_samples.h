// Key-mean profiles for tests: of numbers that can be computed by hand, and with every defect that Parse tells apart.
#ifndef POLARKV_TESTS_CODEC_PROFILE_SAMPLES_H_
#define POLARKV_TESTS_CODEC_PROFILE_SAMPLES_H_

#include <functional>
#include <string>
#include <vector>

#include "codec/key_mean_profile.h"

namespace polarkv::testing {

// One layer, two heads of 64, half RoPE over 4 dims. Head 0 has no mean; head 1 has 8 (i % 7) - 24 at coordinate i.
ProfileShape SampleProfileShape();
KeyMeanProfilePtr SampleProfile();

// Any shape; every head has a mean, of numbers that differ. A `seed` of 0 gives means of zeros.
KeyMeanProfilePtr MakeProfile(const ProfileShape& shape, uint32_t seed);
// The model that a block of the spec is of, `kv_heads` in all; with the spec's phases, or some.
ProfileShape ProfileShapeFor(const BlockSpec& spec, uint32_t kv_heads);

struct ProfileDefect {
  std::string name;
  absl::StatusCode code;
  std::string message;
  std::vector<uint8_t> bytes;
};
const std::vector<ProfileDefect>& AllProfileDefects();

// Computes a profile's checksums anew, as far as its bytes go.
void ResealProfile(std::vector<uint8_t>& bytes);

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_PROFILE_SAMPLES_H_
