#include "tests/quality/quality_bars.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "tests/quality/baseline_schemes.h"
#include "tests/quality/block_scheme.h"
#include "tests/quality/result_summary.h"
#include "tests/quality/suite.h"

namespace polarkv::quality {
namespace {

constexpr char kGaussian128[] = "gaussian/d128";
// From one draw of 128 queries to the next, the ratio of two output errors deviates by 2 to 3 %, and the largest of thirty
// is looked at. What a run without further draws may therefore exceed 1 by.
constexpr double kSampling = .05;

class BarList {
 public:
  explicit BarList(const RunResults& run) : run_(run) {}

  void Add(const std::string& scheme, const std::string& what, double value, double low, double high) {
    (std::isnan(value) ? unmeasured_ : bars_).push_back({scheme, what, value, low, high});
  }

  // Bits of all cases of head dimension 128 that are not shorter than two blocks.
  void AddMostBits(const std::string& name, double limit) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    double most = kNone;
    for (size_t i = 0; i < run_.inputs.size(); ++i) {
      if (run_.inputs[i].head_dim != 128 || run_.inputs[i].tokens < 1024) continue;
      const Result* result = run_.Find(run_.SchemeNamed(name), i);
      most = result == nullptr ? kNone : std::isnan(most) ? result->bits.mean() : std::max(most, result->bits.mean());
      if (result == nullptr) break;  // it might have had the most
    }
    Add(name, "bits, all included, at d = 128 and 1,024 tokens or more: most", most, 0, limit);
  }

  void AddLogitVariance(const std::string& name, double limit) {
    for (double bias : {0.0, 20.0, 120.0, 600.0}) {
      const Inputs inputs = InputsWithBias(run_, kBiasGroup, bias, 1024);
      Add(name, absl::StrFormat("logit-error variance/d at bias %g, worse of four and all pairs", bias),
          Largest(run_, run_.SchemeNamed(name), inputs, &Measures::logit_variance), 0, limit);
    }
  }

  void AddLogitVarianceUnderRopes(const std::string& name, double limit) {
    Add(name, "logit-error variance/d under every RoPE, biases 120 and 600: largest",
        Largest(run_, run_.SchemeNamed(name), InputsOfGroup(run_, kRopeGroup), &Measures::logit_variance), 0, limit);
  }

  // The largest ratio of output errors over the biases, contexts and head dimensions of the suite.
  void AddOutputAgainst(const std::string& name, const char* rival) {
    const size_t scheme = run_.SchemeNamed(name), other = run_.SchemeNamed(rival);
    double worst = std::numeric_limits<double>::quiet_NaN();
    std::string where;
    for (const CaseInfo& input : run_.inputs) {
      if (input.group != kBiasGroup && input.group != kContextGroup && input.group != kHeadDimGroup) continue;
      const Inputs draws = DrawsOf(input.name);
      const double ratio = GeometricMean(run_, scheme, draws, &Measures::output_error) /
                           GeometricMean(run_, other, draws, &Measures::output_error);
      // One that is missing might have been the largest.
      if (where.empty() || std::isnan(ratio) || ratio > worst) worst = ratio, where = input.name;
      if (std::isnan(ratio)) break;
    }
    const bool drawn = !InputsOfGroup(run_, kDrawGroup).empty();
    Add(name, absl::StrFormat("output error over that of %s: largest (%s)", rival, where.empty() ? "no case" : where), worst, 0,
        drawn ? 1 : 1 + kSampling);
  }

  void AddGaussianError(const std::string& name, const char* side, Field field, double limit) {
    Add(name, absl::StrFormat("relative squared error of Gaussian %s", side),
        ValueOf(run_, run_.SchemeNamed(name), kGaussian128, field), 0, limit);
  }

  // A value keeps its norm, so its squared error is 2 (1 - sqrt(1 - D)) for a code of error D.
  void AddCodingError(const std::string& name, double table) {
    const double error = ValueOf(run_, run_.SchemeNamed(name), kGaussian128, &Measures::value_error);
    Add(name, "coding error of Gaussian values", 1 - (1 - error / 2) * (1 - error / 2), 0, 1.01 * table);
  }

  BarCheck Take() { return {std::move(bars_), std::move(unmeasured_)}; }

 private:
  // The case of that name, and more of it from other seeds.
  Inputs DrawsOf(const std::string& name) const {
    return SelectInputs(run_, [&name](const CaseInfo& input) {
      return input.name == name || (input.group == kDrawGroup && input.name.starts_with(name + kDrawMark));
    });
  }

  const RunResults& run_;
  std::vector<Bar> bars_, unmeasured_;
};

}  // namespace

BarCheck CheckAllBars(const RunResults& run) {
  BarList bars(run);
  const size_t standard = run.SchemeNamed("default");
  bars.AddMostBits("default", 4.2);
  bars.Add("default", "slope of inner products of unit vectors",
           ValueOf(run, standard, kGaussian128, &Measures::unit_slope), .998, 1.002);
  // The codes' own error is .0070; the rounding of the scale bytes adds .0003.
  bars.Add("default", "d * E[err^2] of unit vectors, queries at cosine 1/2 to the key",
           ValueOf(run, standard, kGaussian128, &Measures::unit_error_half), 0, .0075);
  bars.AddLogitVariance("default", .012);
  bars.AddMostBits(kShortProfiled, 4.2);
  bars.AddLogitVariance(kShortProfiled, .012);
  bars.AddLogitVarianceUnderRopes(kShortProfiled, .012);
  bars.AddOutputAgainst("default", kLloydMax4);
  bars.AddOutputAgainst("default", kKivi4);
  bars.AddGaussianError("compact", "keys", &Measures::key_error, .0285);
  bars.AddGaussianError("compact", "values", &Measures::value_error, .0285);
  bars.AddGaussianError("small", "keys", &Measures::key_error, .0285);
  bars.AddGaussianError("small", "values", &Measures::value_error, .092);
  bars.AddCodingError("trellis1", .3024);
  bars.AddCodingError("trellis2", .0889);
  bars.AddCodingError("trellis3", .0274);
  return bars.Take();
}

std::vector<std::string> MissingCases(const RunResults& run) {
  std::vector<std::string> missing;
  for (const SyntheticSpec& spec : SuiteSpecs(Profile::kFull)) {
    const auto is_it = [&spec](const CaseInfo& input) { return input.name == spec.name; };
    if (!std::ranges::any_of(run.inputs, is_it)) missing.push_back(spec.name);
  }
  return missing;
}

std::vector<Bar> CheckBars(const RunResults& run) { return CheckAllBars(run).measured; }

}  // namespace polarkv::quality
