// Line and point plots as SVG text.
#ifndef POLARKV_TESTS_QUALITY_SVG_PLOT_H_
#define POLARKV_TESTS_QUALITY_SVG_PLOT_H_

#include <string>
#include <vector>

namespace polarkv::quality {

struct PlotPoint {
  double x = 0;
  double y = 0;
  std::string label;  // beside the point; may be empty
};

struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points;  // joined in this order
  bool dashed = false;
  bool markers = true;
  bool joined = true;
  int color = -1;  // of the palette; -1: the series' place in the list
};

struct Plot {
  std::string title, x_label, y_label;
  bool log_y = true;
  std::vector<PlotSeries> series;
};

// A whole document. Points that the axes cannot show (not finite, not positive on a logarithmic axis) are left out.
std::string RenderSvg(const Plot& plot);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_SVG_PLOT_H_
