// Runs every scheme on every case.
#ifndef POLARKV_TESTS_QUALITY_QUALITY_RUN_H_
#define POLARKV_TESTS_QUALITY_QUALITY_RUN_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "tests/quality/measures.h"
#include "tests/quality/scheme.h"

namespace polarkv::quality {

struct SchemeInfo {
  std::string name;
  std::string family;
  std::string aliases;  // "default", "compact, small"; often empty
  SchemeKind kind = SchemeKind::kCodec;
};

struct CaseInfo {
  std::string name, group;
  double bias = 0;
  uint32_t tokens = 0, head_dim = 0;
};

struct Result {
  size_t scheme = 0, input = 0;  // indexes of RunResults
  SideBits bits, net;
  Measures measures;
};

// A scheme that a case went without, and why.
struct Omission {
  size_t scheme = 0, input = 0;
  std::string reason;
};

struct RunResults {
  std::vector<SchemeInfo> schemes;
  std::vector<CaseInfo> inputs;
  std::vector<Result> results;  // in order of inputs, then schemes
  std::vector<Omission> omissions;

  const Result* Find(size_t scheme, size_t input) const;  // null: omitted
  // Index of the scheme with that name or alias; schemes.size() if there is none.
  size_t SchemeNamed(std::string_view name) const;
  size_t InputNamed(std::string_view name) const;
};

struct RunOptions {
  uint32_t threads = 1;
  // A codec is left out of a case on which it would take longer, judging by its slowest case so far.
  double case_limit_s = 60;
  bool progress = false;  // a line on standard error for each case
};

class QualityRun {
 public:
  // `aliases`: what the names of schemes are also called.
  QualityRun(Schemes schemes, const std::map<std::string, std::string>& aliases, RunOptions options);

  // Measures all schemes on one case; `left` is the number of cases to come, for the progress line. An error names the
  // case and the scheme.
  absl::Status Add(const KvCase& kv, size_t left);
  const RunResults& results() const { return results_; }

 private:
  struct Outcome;
  Outcome RunScheme(size_t scheme, const CaseReference& reference);
  std::string ReasonToOmit(size_t scheme, const KvCase& kv) const;

  Schemes schemes_;
  RunOptions options_;
  RunResults results_;
  std::vector<double> seconds_per_coordinate_;  // of the slowest case so far
};

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_QUALITY_RUN_H_
