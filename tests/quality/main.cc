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
  const std::vector<Bar> bars = CheckBars(read->run);
  if (absl::Status s = WriteReports(options.out, *read, bars); !s.ok()) return Fail(s);
  for (const Bar& bar : bars) {
    if (!bar.Holds()) std::printf("below the bar: %s, %s: %.4g\n", bar.scheme.c_str(), bar.what.c_str(), bar.value);
  }
  std::printf("%zu figures in %s/report.md, report.json and plots\n", read->run.results.size(), options.out.c_str());
  return options.check && !std::ranges::all_of(bars, &Bar::Holds) ? 1 : 0;
}

}  // namespace
}  // namespace polarkv::quality

int main(int argc, char** argv) {
  polarkv::quality::QualityOptions options;
  int exit_code = 0;
  if (!polarkv::quality::ParseQualityOptions(argc, argv, options, exit_code)) return exit_code;
  return polarkv::quality::Run(options);
}
