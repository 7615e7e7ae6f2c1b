// The report for people: a live line while the run goes on, and a page at its end.
#ifndef POLARKV_CLIENT_LOAD_REPORT_TEXT_H_
#define POLARKV_CLIENT_LOAD_REPORT_TEXT_H_

#include <string>

#include "client/load/report.h"

namespace polarkv::load {

// "1.5 GB", powers of ten.
std::string BytesText(double bytes);
// "870 us", "12.3 ms", "4.20 s".
std::string DurationText(double nanoseconds);

// One line, without a line end.
std::string ProgressLine(const RunDescription& run, const ReplayState& state);
// What the workload is and what an unbounded cache would serve.
std::string WorkloadText(const RunDescription& run);
std::string ReportText(const RunDescription& run, const RunResult& result);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_REPORT_TEXT_H_
