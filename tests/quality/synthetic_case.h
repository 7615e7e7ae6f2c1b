// Keys, values and queries with the pathologies that are published for trained models, made from a seed.
#ifndef POLARKV_TESTS_QUALITY_SYNTHETIC_CASE_H_
#define POLARKV_TESTS_QUALITY_SYNTHETIC_CASE_H_

#include <cstdint>
#include <string>

#include "tests/quality/kv_case.h"

namespace polarkv::quality {

// Distribution of the keys' content, that is of what differs between tokens, before RoPE.
enum class KeyContent {
  kIsotropic,        // N(0, I)
  kOutlierChannels,  // N(0, I), six channels ten times as large
  kLowRank,          // sixteen directions, and a hundredth of the energy elsewhere
  kHeavyTails,       // Student's t with 3 degrees of freedom, and norms that vary log-normally by half
  kDecayingSpectrum  // the deviations of RoPE pairs fall from 3 to 1/3 of the middle one's
};
// A near-zero key that attracts 16 % of each query's attention.
enum class Sink { kNone, kFirstToken, kInside };
enum class BiasShape { kFourPairs, kAllPairs };

struct SyntheticSpec {
  std::string name{};
  std::string group{};
  uint32_t head_dim = 128;
  uint32_t tokens = 4096;
  Rope rope{RopePairing::kHalf, 1e6f, 128};
  uint64_t first_position = 1000;
  double bias = 0;  // norm of the vector that is added to every key before RoPE
  BiasShape bias_shape = BiasShape::kFourPairs;
  KeyContent content = KeyContent::kIsotropic;
  Sink sink = Sink::kNone;
  double value_mean = 0;  // root mean square of the values' mean vector; their deviation is 1
  uint64_t seed = 1;
};

inline constexpr uint32_t kSyntheticQueries = 128;
inline constexpr double kSinkMass = .16;

// Half of the queries are N(0, I); each of the others has a component along one key's content, so large that the key
// gets a considerable part of the attention. With a sink every query has one against the bias.
KvCase MakeSyntheticCase(const SyntheticSpec& spec);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_SYNTHETIC_CASE_H_
