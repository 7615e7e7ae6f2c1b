// The command line of polarkv-quality.
#ifndef POLARKV_TESTS_QUALITY_QUALITY_OPTIONS_H_
#define POLARKV_TESTS_QUALITY_QUALITY_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/quality/block_scheme.h"
#include "tests/quality/suite.h"

namespace polarkv::quality {

struct QualityOptions {
  Profile profile = Profile::kFull;
  std::string out = "quality-report";
  std::vector<std::string> groups;   // empty: all
  std::vector<std::string> schemes;  // empty: all
  std::vector<std::string> dumps;
  std::string render;  // a report.json to write tables and plots of, in place of measuring
  uint32_t block_tokens = kDefaultBlockTokens;
  uint32_t threads = 1;
  double case_limit_s = 60;
  bool check = false;
  bool partial = false;  // --check lets bars pass that were not measured
};

// False when the program is to end with `exit_code`: 0 after --help, 2 after a wrong flag, with a message printed.
bool ParseQualityOptions(int argc, const char* const* argv, QualityOptions& options, int& exit_code);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_QUALITY_OPTIONS_H_
