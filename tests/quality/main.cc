// polarkv-quality: error against true bits, for every codec and its rivals.
#include <algorithm>
#include <cstdio>

#include "client/cli/cli_status.h"
#include "tests/quality/quality_program.h"

namespace polarkv::quality {
namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "polarkv-quality: %s\n", cli::MessageOf(status).c_str());
  return status.code() == absl::StatusCode::kInvalidArgument && cli::MessageOf(status).starts_with("--") ? 2 : 1;
}

int Run(const QualityOptions& options) {
  const absl::StatusOr<ReadRun> read = MeasureOrRead(options);
  if (!read.ok()) return Fail(read.status());
  const BarCheck check = CheckAllBars(read->run);
  if (absl::Status s = WriteReports(options.out, *read, check.measured); !s.ok()) return Fail(s);
  for (const Bar& bar : check.measured) {
    if (!bar.Holds()) std::printf("below the bar: %s, %s: %.4g\n", bar.scheme.c_str(), bar.what.c_str(), bar.value);
  }
  const bool all_wanted = options.check && !options.partial;
  if (all_wanted) {
    for (const Bar& bar : check.unmeasured) {
      std::printf("not measured: %s, %s\n", bar.scheme.c_str(), bar.what.c_str());
    }
  }
  const std::vector<std::string> missing = MissingCases(read->run);
  if (all_wanted && !missing.empty()) {
    std::printf("not measured: %zu cases of the suite, such as %s\n", missing.size(), missing[0].c_str());
  }
  std::printf("%zu figures in %s/report.md, report.json and plots\n", read->run.results.size(), options.out.c_str());
  if (all_wanted && !(check.unmeasured.empty() && missing.empty())) {
    std::fprintf(stderr,
                 "polarkv-quality: --check: %zu of %zu bars were not measured, or not over all cases; measure all groups and "
                 "schemes without --quick, or give --partial to check the others alone\n",
                 check.unmeasured.size(), check.measured.size() + check.unmeasured.size());
    return 1;
  }
  return options.check && !std::ranges::all_of(check.measured, &Bar::Holds) ? 1 : 0;
}

}  // namespace
}  // namespace polarkv::quality

int main(int argc, char** argv) {
  polarkv::quality::QualityOptions options;
  int exit_code = 0;
  if (!polarkv::quality::ParseQualityOptions(argc, argv, options, exit_code)) return exit_code;
  return polarkv::quality::Run(options);
}
