// polarkv-quality from its options to its files.
#ifndef POLARKV_TESTS_QUALITY_QUALITY_PROGRAM_H_
#define POLARKV_TESTS_QUALITY_QUALITY_PROGRAM_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/quality/quality_bars.h"
#include "tests/quality/quality_options.h"
#include "tests/quality/quality_run.h"
#include "tests/quality/report_tables.h"

namespace polarkv::quality {

// INVALID_ARGUMENT names a wanted scheme that does not exist, and those that do.
struct SchemeChoice {
  Schemes schemes;
  std::map<std::string, std::string> aliases;  // of names
};
absl::StatusOr<SchemeChoice> ChooseSchemes(const QualityOptions& options);

absl::StatusOr<RunResults> Measure(const QualityOptions& options);
// What Measure returns, or with --render what a report holds.
absl::StatusOr<ReadRun> MeasureOrRead(const QualityOptions& options);
// Writes report.md, report.json and the plots into `folder`.
absl::Status WriteReports(const std::string& folder, const ReadRun& read, const std::vector<Bar>& bars);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_QUALITY_PROGRAM_H_
