// Which synthetic inputs a run measures.
#ifndef POLARKV_TESTS_QUALITY_SUITE_H_
#define POLARKV_TESTS_QUALITY_SUITE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/quality/synthetic_case.h"

namespace polarkv::quality {

enum class Profile { kQuick, kFull };

// Groups, as tables name them.
inline constexpr char kGaussianGroup[] = "gaussian";    // no structure, no RoPE: against theory
inline constexpr char kBiasGroup[] = "bias";            // the published experiment on biased keys, 1,024 tokens
inline constexpr char kContextGroup[] = "context";      // biased keys at contexts of 512 to 32,768 tokens
inline constexpr char kHeadDimGroup[] = "head_dim";     // biased keys at head dimensions 64 and 256
inline constexpr char kRopeGroup[] = "rope";            // pairings, bases, first positions
inline constexpr char kPathologyGroup[] = "pathology";  // outlier channels, sinks, tails, spectra, value means
inline constexpr char kDrawGroup[] = "draws";           // unbiased cases of three groups above, seven seeds more each
inline constexpr char kDumpGroup[] = "dump";            // tensors of a trained model
// All of the above but kDumpGroup.
std::vector<std::string> SyntheticGroups();

// The quick profile has a part of the full one's cases.
std::vector<SyntheticSpec> SuiteSpecs(Profile profile);

// "bias/120/all/1024": how cases of kBiasGroup and kContextGroup are named.
std::string BiasedName(const std::string& group, double bias, BiasShape shape, uint32_t tokens);
// "bias/0/four/1024#2": the second draw of a case.
inline constexpr char kDrawMark[] = "#";
inline constexpr double kBiases[] = {0, 20, 120, 600, 900};

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_SUITE_H_
