// A run as Markdown tables and as JSON.
#ifndef POLARKV_TESTS_QUALITY_REPORT_TABLES_H_
#define POLARKV_TESTS_QUALITY_REPORT_TABLES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/quality/quality_bars.h"
#include "tests/quality/quality_run.h"

namespace polarkv::quality {

// How a run was made; part of every report.
struct RunNotes {
  std::string profile;
  uint32_t block_tokens = 0;
};

std::string MarkdownReport(const RunResults& run, const std::vector<Bar>& bars, const RunNotes& notes);
// {"profile", "block_tokens", "schemes": [...], "cases": [...], "results": [...], "omissions": [...], "bars": [...]}
std::string JsonReport(const RunResults& run, const std::vector<Bar>& bars, const RunNotes& notes);

// The run that a JSON report is of, to write its tables and plots anew. INVALID_ARGUMENT: the text is not such a
// report.
struct ReadRun {
  RunResults run;
  RunNotes notes;
};
absl::StatusOr<ReadRun> ReadJsonReport(const std::string& text);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_REPORT_TABLES_H_
