// Figures over several cases of a run.
#ifndef POLARKV_TESTS_QUALITY_RESULT_SUMMARY_H_
#define POLARKV_TESTS_QUALITY_RESULT_SUMMARY_H_

#include <functional>
#include <string>
#include <vector>

#include "tests/quality/quality_run.h"

namespace polarkv::quality {

using Inputs = std::vector<size_t>;  // indexes of RunResults::inputs
using Field = double Measures::*;

Inputs SelectInputs(const RunResults& run, const std::function<bool(const CaseInfo&)>& wanted);
Inputs InputsOfGroup(const RunResults& run, const std::string& group);
// Cases of a group with that bias and number of tokens, whatever the bias's shape.
Inputs InputsWithBias(const RunResults& run, const std::string& group, double bias, uint32_t tokens);

// All of these: NaN if there is no input or the scheme was left out of one.
double GeometricMean(const RunResults& run, size_t scheme, const Inputs& inputs, Field field);
double Mean(const RunResults& run, size_t scheme, const Inputs& inputs, Field field);
double Largest(const RunResults& run, size_t scheme, const Inputs& inputs, Field field);
double ValueOf(const RunResults& run, size_t scheme, const std::string& input, Field field);

// All bits of K and V at head dimension 128, over those cases of the run that the scheme was measured on: mean and
// most.
struct TrueBits {
  SideBits mean;
  double most = 0;
};
TrueBits BitsOf(const RunResults& run, size_t scheme);

// Number of tokens of the group's cases that tables show: 4,096, or else the most there are.
uint32_t ShownContext(const RunResults& run, const std::string& group);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_RESULT_SUMMARY_H_
