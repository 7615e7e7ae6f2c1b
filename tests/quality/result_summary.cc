#include "tests/quality/result_summary.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/quality/suite.h"

namespace polarkv::quality {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Empty when one is missing.
std::vector<double> Values(const RunResults& run, size_t scheme, const Inputs& inputs, Field field) {
  std::vector<double> values;
  for (size_t input : inputs) {
    const Result* result = run.Find(scheme, input);
    if (result == nullptr) return {};
    values.push_back(result->measures.*field);
  }
  return values;
}

}  // namespace

Inputs SelectInputs(const RunResults& run, const std::function<bool(const CaseInfo&)>& wanted) {
  Inputs inputs;
  for (size_t i = 0; i < run.inputs.size(); ++i) {
    if (wanted(run.inputs[i])) inputs.push_back(i);
  }
  return inputs;
}

Inputs InputsOfGroup(const RunResults& run, const std::string& group) {
  return SelectInputs(run, [&group](const CaseInfo& input) { return input.group == group; });
}

Inputs InputsWithBias(const RunResults& run, const std::string& group, double bias, uint32_t tokens) {
  return SelectInputs(
      run, [&](const CaseInfo& input) { return input.group == group && input.bias == bias && input.tokens == tokens; });
}

double GeometricMean(const RunResults& run, size_t scheme, const Inputs& inputs, Field field) {
  const std::vector<double> values = Values(run, scheme, inputs, field);
  double sum = 0;
  for (double value : values) sum += std::log(std::max(value, 1e-12));
  return values.empty() ? kNone : std::exp(sum / static_cast<double>(values.size()));
}

double Mean(const RunResults& run, size_t scheme, const Inputs& inputs, Field field) {
  const std::vector<double> values = Values(run, scheme, inputs, field);
  double sum = 0;
  for (double value : values) sum += value;
  return values.empty() ? kNone : sum / static_cast<double>(values.size());
}

double Largest(const RunResults& run, size_t scheme, const Inputs& inputs, Field field) {
  const std::vector<double> values = Values(run, scheme, inputs, field);
  return values.empty() ? kNone : std::ranges::max(values);
}

double ValueOf(const RunResults& run, size_t scheme, const std::string& input, Field field) {
  const Result* result = run.Find(scheme, run.InputNamed(input));
  return result == nullptr ? kNone : result->measures.*field;
}

TrueBits BitsOf(const RunResults& run, size_t scheme) {
  TrueBits bits;
  double count = 0;
  for (const Result& result : run.results) {
    const CaseInfo& input = run.inputs[result.input];
    if (result.scheme != scheme || input.head_dim != 128 || input.group == kDrawGroup) continue;
    bits.mean.k += result.bits.k;
    bits.mean.v += result.bits.v;
    bits.most = std::max(bits.most, result.bits.mean());
    ++count;
  }
  if (count == 0) return {{kNone, kNone}, kNone};
  bits.mean.k /= count;
  bits.mean.v /= count;
  return bits;
}

uint32_t ShownContext(const RunResults& run, const std::string& group) {
  uint32_t most = 0;
  for (const CaseInfo& input : run.inputs) {
    if (input.group != group) continue;
    if (input.tokens == 4096) return 4096;
    most = std::max(most, input.tokens);
  }
  return most;
}

}  // namespace polarkv::quality
