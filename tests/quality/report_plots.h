// The plots of a run.
#ifndef POLARKV_TESTS_QUALITY_REPORT_PLOTS_H_
#define POLARKV_TESTS_QUALITY_REPORT_PLOTS_H_

#include <string>
#include <vector>

#include "tests/quality/quality_run.h"
#include "tests/quality/svg_plot.h"

namespace polarkv::quality {

struct NamedPlot {
  std::string file;  // "gaussian_error.svg"
  Plot plot;
};

// Those that the run has data for.
std::vector<NamedPlot> ReportPlots(const RunResults& run);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_REPORT_PLOTS_H_
