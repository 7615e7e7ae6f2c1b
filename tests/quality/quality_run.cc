#include "tests/quality/quality_run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "client/cli/cli_status.h"
#include "tests/quality/baseline_schemes.h"
#include "tests/quality/suite.h"

namespace polarkv::quality {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// There are 28 ways to split up to 8 bits into radius and angle: the long cases have those that somebody would use.
bool IsRarePolar(const SchemeInfo& scheme) {
  static const std::set<std::string, std::less<>> kUsual = {"polar33", "polar34", "polar44", "polar35", "polar26"};
  return scheme.kind == SchemeKind::kCodec && scheme.family == "polar" && !kUsual.contains(scheme.name) &&
         scheme.name.size() == 7;
}

// Further draws tell which of two close schemes errs less: those that bars compare.
bool IsMeasured(const SchemeInfo& scheme, const std::string& group) {
  if (group != kDrawGroup) return true;
  return scheme.name == kKivi4 || scheme.name == kLloydMax4 || scheme.aliases.find("default") != std::string::npos;
}

}  // namespace

const Result* RunResults::Find(size_t scheme, size_t input) const {
  const auto found =
      std::ranges::find_if(results, [&](const Result& r) { return r.scheme == scheme && r.input == input; });
  return found == results.end() ? nullptr : &*found;
}

size_t RunResults::SchemeNamed(std::string_view name) const {
  if (name.empty()) return schemes.size();
  const auto found = std::ranges::find_if(schemes, [name](const SchemeInfo& scheme) {
    const std::string list = ", " + scheme.aliases + ", ";
    return scheme.name == name || list.find(", " + std::string(name) + ", ") != std::string::npos;
  });
  return static_cast<size_t>(found - schemes.begin());
}

size_t RunResults::InputNamed(std::string_view name) const {
  return static_cast<size_t>(std::ranges::find(inputs, name, &CaseInfo::name) - inputs.begin());
}

struct QualityRun::Outcome {
  absl::Status status;
  std::string omitted;  // why; empty: measured
  Result result;
  double seconds = 0;
};

QualityRun::QualityRun(Schemes schemes, const std::map<std::string, std::string>& aliases, RunOptions options)
    : schemes_(std::move(schemes)), options_(options), seconds_per_coordinate_(schemes_.size()) {
  for (const auto& scheme : schemes_) {
    const auto alias = aliases.find(scheme->name());
    results_.schemes.push_back(
        {scheme->name(), scheme->family(), alias == aliases.end() ? "" : alias->second, scheme->kind()});
  }
}

std::string QualityRun::ReasonToOmit(size_t scheme, const KvCase& kv) const {
  if (IsRarePolar(results_.schemes[scheme]) && kv.group != kGaussianGroup && kv.group != kBiasGroup) {
    return "measured in groups gaussian and bias alone";
  }
  const double expected = seconds_per_coordinate_[scheme] * static_cast<double>(kv.coordinates());
  if (expected <= options_.case_limit_s) return "";
  return absl::StrFormat("would take about %.0f s", expected);
}

QualityRun::Outcome QualityRun::RunScheme(size_t scheme, const CaseReference& reference) {
  Outcome outcome;
  outcome.omitted = ReasonToOmit(scheme, reference.kv());
  if (!outcome.omitted.empty()) return outcome;
  const Clock::time_point start = Clock::now();
  const absl::StatusOr<Reconstruction> reconstruction = schemes_[scheme]->Apply(reference.kv());
  outcome.seconds = SecondsSince(start);
  if (!reconstruction.ok()) {
    outcome.status = cli::Annotate(reconstruction.status(), reference.kv().name + ", " + schemes_[scheme]->name());
    return outcome;
  }
  outcome.result = {scheme, results_.inputs.size() - 1, reconstruction->bits, reconstruction->net,
                    Measure(reference, *reconstruction)};
  return outcome;
}

absl::Status QualityRun::Add(const KvCase& kv, size_t left) {
  const Clock::time_point start = Clock::now();
  results_.inputs.push_back({kv.name, kv.group, kv.bias, kv.tokens, kv.head_dim});
  const CaseReference reference(kv);
  std::vector<Outcome> outcomes(schemes_.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < schemes_.size(); i = next++) {
      if (IsMeasured(results_.schemes[i], kv.group)) outcomes[i] = RunScheme(i, reference);
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i < options_.threads; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();

  size_t measured = 0;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (!IsMeasured(results_.schemes[i], kv.group)) continue;
    Outcome& outcome = outcomes[i];
    if (!outcome.status.ok()) return outcome.status;
    if (!outcome.omitted.empty()) {
      results_.omissions.push_back({i, results_.inputs.size() - 1, outcome.omitted});
      continue;
    }
    const double cost = outcome.seconds / static_cast<double>(kv.coordinates());
    seconds_per_coordinate_[i] = std::max(seconds_per_coordinate_[i], cost);
    results_.results.push_back(outcome.result);
    ++measured;
  }
  if (options_.progress) {
    std::fprintf(stderr, "%-34s %zu of %zu schemes, %.1f s; %zu cases left\n", kv.name.c_str(), measured,
                 schemes_.size(), SecondsSince(start), left);
  }
  return absl::OkStatus();
}

}  // namespace polarkv::quality
