// What the codecs promise, checked on a run.
#ifndef POLARKV_TESTS_QUALITY_QUALITY_BARS_H_
#define POLARKV_TESTS_QUALITY_QUALITY_BARS_H_

#include <string>
#include <vector>

#include "tests/quality/quality_run.h"

namespace polarkv::quality {

struct Bar {
  std::string scheme;  // alias or name
  std::string what;
  double value = 0;
  double low = 0, high = 0;  // both included
  bool Holds() const { return value >= low && value <= high; }
};

// Bars of the schemes and cases that the run has: none for an alias that the build does not know.
std::vector<Bar> CheckBars(const RunResults& run);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_QUALITY_BARS_H_
