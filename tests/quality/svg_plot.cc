#include "tests/quality/svg_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace polarkv::quality {
namespace {

constexpr double kWidth = 900, kHeight = 540, kLeft = 70, kRight = 700, kTop = 45, kBottom = 490;
constexpr std::array kColors = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf",
                                "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#000080", "#006400"};

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

std::string Text(double x, double y, const char* anchor, int size, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\">%s</text>\n", x, y, anchor,
                         size, Escaped(text));
}

std::string Line(double x1, double y1, double x2, double y2, const char* color) {
  return absl::StrFormat("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2,
                         color);
}

// From data to pixels.
class Axis {
 public:
  Axis(double from_pixel, double to_pixel, bool logarithmic)
      : from_pixel_(from_pixel), to_pixel_(to_pixel), logarithmic_(logarithmic) {}

  bool Shows(double value) const { return std::isfinite(value) && (!logarithmic_ || value > 0); }
  void Include(double value) {
    low_ = std::min(low_, Inner(value));
    high_ = std::max(high_, Inner(value));
  }
  void Finish() {
    if (low_ > high_) low_ = 0, high_ = 1;
    const double margin = std::max(.04 * (high_ - low_), 1e-3);
    low_ -= margin;
    high_ += margin;
  }
  double Pixel(double value) const {
    return from_pixel_ + (Inner(value) - low_) / (high_ - low_) * (to_pixel_ - from_pixel_);
  }
  std::vector<double> Ticks() const { return logarithmic_ ? LogTicks() : LinearTicks(); }

 private:
  double Inner(double value) const { return logarithmic_ ? std::log10(value) : value; }
  std::vector<double> LogTicks() const {
    std::vector<double> ticks;
    const bool decades_only = high_ - low_ > 4;
    for (int decade = static_cast<int>(std::floor(low_)); decade <= std::ceil(high_); ++decade) {
      for (double step : {1.0, 2.0, 5.0}) {
        const double value = step * std::pow(10.0, decade);
        if (decades_only && step > 1) continue;
        if (std::log10(value) >= low_ && std::log10(value) <= high_) ticks.push_back(value);
      }
    }
    return ticks;
  }
  std::vector<double> LinearTicks() const {
    const double rough = (high_ - low_) / 8, decade = std::pow(10.0, std::floor(std::log10(rough)));
    double step = decade;
    for (double factor : {2.0, 5.0, 10.0}) {
      if (step < rough) step = factor * decade;
    }
    std::vector<double> ticks;
    for (double i = std::ceil(low_ / step); i * step <= high_; ++i) ticks.push_back(i * step);
    return ticks;
  }

  double from_pixel_, to_pixel_;
  bool logarithmic_;
  double low_ = 1e300, high_ = -1e300;
};

// Keeps labels from covering each other: the first free of some places around a point.
class LabelPlaces {
 public:
  std::string Place(double x, double y, const std::string& label) {
    const double width = 5.2 * static_cast<double>(label.size());
    for (auto [dx, dy] :
         {std::pair{6.0, -4.0}, {6.0, 11.0}, {-6.0 - width, -4.0}, {-6.0 - width, 11.0}, {6.0, -14.0}, {6.0, 21.0}}) {
      const Box box{x + dx, y + dy - 9, x + dx + width, y + dy};
      if (box.right > kRight + 20 || box.left < kLeft ||
          std::ranges::any_of(taken_, [&](const Box& b) { return Meet(b, box); })) {
        continue;
      }
      taken_.push_back(box);
      return Text(x + dx, y + dy - 1, "start", 9, label);
    }
    return "";
  }

 private:
  struct Box {
    double left, top, right, bottom;
  };
  static bool Meet(const Box& a, const Box& b) {
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  }
  std::vector<Box> taken_;
};

std::string Grid(const Plot& plot, const Axis& x_axis, const Axis& y_axis) {
  std::string svg;
  for (double tick : x_axis.Ticks()) {
    const double x = x_axis.Pixel(tick);
    svg +=
        Line(x, kTop, x, kBottom, "#e0e0e0") + Text(x, kBottom + 16, "middle", 11, absl::StrFormat("%g", tick + 0.0));
  }
  for (double tick : y_axis.Ticks()) {
    const double y = y_axis.Pixel(tick);
    svg += Line(kLeft, y, kRight, y, "#e0e0e0") + Text(kLeft - 6, y + 4, "end", 11, absl::StrFormat("%g", tick));
  }
  svg += Line(kLeft, kTop, kLeft, kBottom, "#404040") + Line(kLeft, kBottom, kRight, kBottom, "#404040");
  svg += Text((kLeft + kRight) / 2, 24, "middle", 15, plot.title);
  svg += Text((kLeft + kRight) / 2, kBottom + 36, "middle", 12, plot.x_label);
  const double middle = (kTop + kBottom) / 2;
  svg += absl::StrFormat(
      "<text x=\"16\" y=\"%.1f\" text-anchor=\"middle\" font-size=\"12\" transform=\"rotate(-90 16 %.1f)\">%s</text>\n",
      middle, middle, Escaped(plot.y_label));
  return svg;
}

std::string Curve(const PlotSeries& series, const std::vector<PlotPoint>& points, const char* color) {
  std::string path;
  for (const PlotPoint& p : points) path += absl::StrFormat("%s%.1f %.1f", path.empty() ? "M" : " L", p.x, p.y);
  std::string svg;
  if (series.joined && points.size() > 1) {
    svg += absl::StrFormat("<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"%s/>\n", path, color,
                           series.dashed ? " stroke-dasharray=\"5 4\"" : "");
  }
  if (!series.markers) return svg;
  for (const PlotPoint& p : points) {
    svg += absl::StrFormat("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", p.x, p.y, color);
  }
  return svg;
}

}  // namespace

std::string RenderSvg(const Plot& plot) {
  Axis x_axis(kLeft, kRight, false), y_axis(kBottom, kTop, plot.log_y);
  const auto shown = [&](const PlotPoint& p) { return x_axis.Shows(p.x) && y_axis.Shows(p.y); };
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& p : series.points) {
      if (!shown(p)) continue;
      x_axis.Include(p.x);
      y_axis.Include(p.y);
    }
  }
  x_axis.Finish();
  y_axis.Finish();
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" "
      "font-family=\"sans-serif\">\n<rect width=\"%g\" height=\"%g\" fill=\"#ffffff\"/>\n",
      kWidth, kHeight, kWidth, kHeight, kWidth, kHeight);
  svg += Grid(plot, x_axis, y_axis);
  LabelPlaces labels;
  std::string texts;
  double legend = kTop + 10;
  for (size_t i = 0; i < plot.series.size(); ++i) {
    const PlotSeries& series = plot.series[i];
    const char* color = kColors[(series.color < 0 ? i : static_cast<size_t>(series.color)) % kColors.size()];
    std::vector<PlotPoint> points;
    for (const PlotPoint& p : series.points) {
      if (shown(p)) points.push_back({x_axis.Pixel(p.x), y_axis.Pixel(p.y), p.label});
    }
    if (points.empty()) continue;
    svg += Curve(series, points, color);
    for (const PlotPoint& p : points) {
      if (!p.label.empty()) texts += labels.Place(p.x, p.y, p.label);
    }
    svg += Curve(series, {{kRight + 30, legend, ""}, {kRight + 54, legend, ""}}, color);
    svg += Text(kRight + 62, legend + 4, "start", 11, series.name);
    legend += 18;
  }
  return svg + texts + "</svg>\n";
}

}  // namespace polarkv::quality
