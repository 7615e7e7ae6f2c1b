#include "tests/quality/report_plots.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "absl/strings/str_format.h"
#include "tests/quality/baseline_schemes.h"
#include "tests/quality/result_summary.h"
#include "tests/quality/suite.h"

namespace polarkv::quality {
namespace {

enum class Against { kKeyBits, kAllBits };

constexpr double kMostBits = 9;  // fp16 would squeeze the rest

// One series for each family, its schemes in order of their bits.
std::vector<PlotSeries> FamilySeries(const RunResults& run, Against against,
                                     const std::function<double(size_t scheme)>& value) {
  std::map<std::pair<SchemeKind, std::string>, PlotSeries> families;
  for (size_t scheme = 0; scheme < run.schemes.size(); ++scheme) {
    const SchemeInfo& info = run.schemes[scheme];
    const SideBits bits = BitsOf(run, scheme).mean;
    const double x = against == Against::kKeyBits ? bits.k : bits.mean();
    const double y = value(scheme);
    if (std::isnan(y) || !(x < kMostBits) || (against == Against::kAllBits && bits.v > kMostBits)) continue;
    PlotSeries& series = families[{info.kind, info.family}];
    series.name = info.family + (info.kind == SchemeKind::kBaseline ? " (rival)" : "");
    series.dashed = info.kind == SchemeKind::kBaseline;
    series.joined = info.family != "polar";  // several ways to split the same bits
    const size_t comma = info.name.find(",v=fp16");
    const std::string name = comma == std::string::npos ? info.name : info.name.substr(2, comma - 2);
    series.points.push_back({x, y, info.aliases.empty() ? name : info.aliases + ": " + name});
  }
  std::vector<PlotSeries> all;
  for (auto& [key, series] : families) {
    std::ranges::sort(series.points, {}, &PlotPoint::x);
    all.push_back(std::move(series));
  }
  return all;
}

Plot GaussianPlot(const RunResults& run) {
  const std::string input = std::string(kGaussianGroup) + "/d128";
  Plot plot{"Gaussian keys: relative squared error",
            "bits of a key coordinate, everything counted",
            "squared error / squared norm",
            true,
            {}};
  plot.series = FamilySeries(run, Against::kKeyBits,
                             [&](size_t scheme) { return ValueOf(run, scheme, input, &Measures::key_error); });
  PlotSeries bound{"bound 4^-bits", {}, true, false, true, 8};
  for (double bits = 1; bits <= 8; bits += .5) bound.points.push_back({bits, std::pow(4, -bits), ""});
  plot.series.push_back(bound);
  return plot;
}

Plot VariancePlot(const RunResults& run) {
  const Inputs inputs = SelectInputs(run, [](const CaseInfo& i) { return i.group == kBiasGroup && i.bias == 120; });
  Plot plot{"Keys with a bias of norm 120: logit error, the worse of four and all pairs",
            "bits of a key coordinate, everything counted",
            "variance of the logit error / d",
            true,
            {}};
  plot.series = FamilySeries(run, Against::kKeyBits,
                             [&](size_t scheme) { return Largest(run, scheme, inputs, &Measures::logit_variance); });
  return plot;
}

Plot GroupPlot(const RunResults& run, Against against, const std::string& title, const char* y_label,
               const Inputs& inputs, Field field) {
  Plot plot{title,
            against == Against::kKeyBits ? "bits of a key coordinate, everything counted"
                                         : "bits of a coordinate, mean of K and V, everything counted",
            y_label,
            true,
            {}};
  plot.series = FamilySeries(run, against, [&](size_t scheme) { return GeometricMean(run, scheme, inputs, field); });
  return plot;
}

// Schemes of about four bits over the norm of the bias.
Plot BiasPlot(const RunResults& run) {
  Plot plot{"Around four bits: logit error over the key bias (four pairs solid, all pairs dashed)",
            "norm of the key bias before RoPE",
            "variance of the logit error / d",
            true,
            {}};
  int color = 0;
  for (const char* name :
       {"turbo4", "polar44", "polar35", "k=turbo3q,v=fp16", kKivi4, kLloydMax4, kPolarPublished, "NVFP4"}) {
    const size_t scheme = run.SchemeNamed(name);
    if (scheme == run.schemes.size()) continue;
    for (BiasShape shape : {BiasShape::kFourPairs, BiasShape::kAllPairs}) {
      PlotSeries series{std::string(name) + (shape == BiasShape::kFourPairs ? ", four" : ", all"),
                        {},
                        shape == BiasShape::kAllPairs,
                        true,
                        true,
                        color};
      for (double bias : kBiases) {
        const std::string input = BiasedName(kBiasGroup, bias, bias == 0 ? BiasShape::kFourPairs : shape, 1024);
        series.points.push_back({bias, ValueOf(run, scheme, input, &Measures::logit_variance), ""});
      }
      plot.series.push_back(std::move(series));
    }
    ++color;
  }
  return plot;
}

bool HasPoints(const Plot& plot) {
  return std::ranges::any_of(plot.series, [](const PlotSeries& series) {
    return series.markers && std::ranges::any_of(series.points, [](const PlotPoint& p) { return std::isfinite(p.y); });
  });
}

}  // namespace

std::vector<NamedPlot> ReportPlots(const RunResults& run) {
  const Inputs biased = SelectInputs(run, [](const CaseInfo& input) {
    return (input.group == kContextGroup && input.tokens <= 4096) || input.group == kHeadDimGroup ||
           input.group == kRopeGroup;
  });
  const Inputs odd =
      SelectInputs(run, [](const CaseInfo& input) { return input.group == kPathologyGroup && input.tokens <= 4096; });
  std::vector<NamedPlot> plots = {
      {"gaussian_error.svg", GaussianPlot(run)},
      {"logit_variance.svg", VariancePlot(run)},
      {"bias_curves.svg", BiasPlot(run)},
      {"attention_kl.svg", GroupPlot(run, Against::kKeyBits, "Biased keys: divergence of the attention weights",
                                     "KL, geometric mean, nats", biased, &Measures::attention_kl)},
      {"output_biased.svg", GroupPlot(run, Against::kAllBits, "Biased keys: error of the attention output",
                                      "relative error, geometric mean", biased, &Measures::output_error)},
      {"output_pathologies.svg", GroupPlot(run, Against::kAllBits, "Pathologies: error of the attention output",
                                           "relative error, geometric mean", odd, &Measures::output_error)},
      {"output_model.svg",
       GroupPlot(run, Against::kAllBits, "Tensors of a model: error of the attention output",
                 "relative error, geometric mean", InputsOfGroup(run, kDumpGroup), &Measures::output_error)},
  };
  std::erase_if(plots, [](const NamedPlot& named) { return !HasPoints(named.plot); });
  return plots;
}

}  // namespace polarkv::quality
