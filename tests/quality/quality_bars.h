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

struct BarCheck {
  std::vector<Bar> measured;
  std::vector<Bar> unmeasured;  // the run lacks a scheme or a case of theirs; their value is NaN
};
BarCheck CheckAllBars(const RunResults& run);
// Cases of the full suite that the run lacks: bars over groups of cases hold for those that it has.
std::vector<std::string> MissingCases(const RunResults& run);
// Those measured.
std::vector<Bar> CheckBars(const RunResults& run);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_QUALITY_BARS_H_
