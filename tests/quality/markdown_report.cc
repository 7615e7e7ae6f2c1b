#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tests/quality/report_tables.h"
#include "tests/quality/result_summary.h"
#include "tests/quality/suite.h"

namespace polarkv::quality {
namespace {

std::string Number(double value) {
  if (std::isnan(value)) return "-";
  const double magnitude = std::fabs(value);
  if (magnitude >= 100) return absl::StrFormat("%.0f", value);
  if (magnitude >= 1) return absl::StrFormat("%.3g", value);
  if (magnitude >= .001 || magnitude == 0) return absl::StrFormat("%.2g", value);
  return absl::StrFormat("%.1e", value);
}

std::string Percent(double value) { return std::isnan(value) ? "-" : absl::StrFormat("%.1f", 100 * value); }

struct Column {
  std::string head;
  std::function<std::string(size_t scheme)> cell;
};

class Tables {
 public:
  explicit Tables(const RunResults& run) : run_(run), order_(run.schemes.size()) {
    std::vector<double> bits;
    for (size_t i = 0; i < order_.size(); ++i) {
      const double mean = BitsOf(run, i).mean.mean();
      bits.push_back(std::isnan(mean) ? 1e9 : mean);
    }
    std::iota(order_.begin(), order_.end(), 0);
    std::ranges::stable_sort(order_, {}, [&bits](size_t scheme) { return bits[scheme]; });
  }

  // One row for each scheme that has anything to show, in order of its bits.
  std::string Render(const std::vector<Column>& columns) const {
    std::string text = "| scheme | bits |";
    for (const Column& column : columns) text += " " + column.head + " |";
    text += "\n|---|" + Repeat("---:|", columns.size() + 1) + "\n";
    for (size_t scheme : order_) {
      std::string row;
      bool any = false;
      for (const Column& column : columns) {
        const std::string cell = column.cell(scheme);
        any = any || (cell != "-" && !column.head.starts_with("K ") && !column.head.starts_with("V "));
        row += " " + cell + " |";
      }
      if (any) text += "| " + Name(scheme) + " | " + Bits(BitsOf(run_, scheme).mean.mean()) + " |" + row + "\n";
    }
    return text;
  }

  Column Value(const std::string& head, const std::string& input, Field field) const {
    return {head, [this, input, field](size_t scheme) { return Number(ValueOf(run_, scheme, input, field)); }};
  }
  Column Worst(const std::string& head, Inputs inputs, Field field) const {
    return {head, [this, inputs = std::move(inputs), field](size_t scheme) {
              return Number(Largest(run_, scheme, inputs, field));
            }};
  }
  Column Geometric(const std::string& head, Inputs inputs, Field field) const {
    return {head, [this, inputs = std::move(inputs), field](size_t scheme) {
              return Number(GeometricMean(run_, scheme, inputs, field));
            }};
  }
  Column Share(const std::string& head, Inputs inputs, Field field) const {
    return {head, [this, inputs = std::move(inputs), field](size_t scheme) {
              return Percent(Mean(run_, scheme, inputs, field));
            }};
  }
  std::vector<Column> SideColumns() const {
    return {{"K bits", [this](size_t scheme) { return Bits(BitsOf(run_, scheme).mean.k); }},
            {"V bits", [this](size_t scheme) { return Bits(BitsOf(run_, scheme).mean.v); }},
            {"net K/V", [this](size_t scheme) { return Net(scheme); }},
            {"bits, most", [this](size_t scheme) { return Bits(BitsOf(run_, scheme).most); }}};
  }
  static std::string Bits(double bits) { return std::isnan(bits) ? "-" : absl::StrFormat("%.3f", bits); }

 private:
  static std::string Repeat(const std::string& text, size_t count) {
    std::string all;
    for (size_t i = 0; i < count; ++i) all += text;
    return all;
  }
  std::string Name(size_t scheme) const {
    const SchemeInfo& info = run_.schemes[scheme];
    const std::string name = info.kind == SchemeKind::kCodec ? "**" + info.name + "**" : info.name;
    return info.aliases.empty() ? name : name + " (" + info.aliases + ")";
  }
  std::string Net(size_t scheme) const {
    for (const Result& result : run_.results) {
      if (result.scheme != scheme || run_.inputs[result.input].head_dim != 128) continue;
      return absl::StrFormat("%.2f/%.2f", result.net.k, result.net.v);
    }
    return "-";
  }

  const RunResults& run_;
  std::vector<size_t> order_;
};

std::string GaussianTable(const RunResults& run, const Tables& tables) {
  std::vector<Column> columns = tables.SideColumns();
  const std::string input = std::string(kGaussianGroup) + "/d128";
  columns.push_back(tables.Value("K error", input, &Measures::key_error));
  columns.push_back(tables.Value("V error", input, &Measures::value_error));
  columns.push_back({"slope", [&run, input](size_t scheme) {
                       const double slope = ValueOf(run, scheme, input, &Measures::unit_slope);
                       return std::isnan(slope) ? "-" : absl::StrFormat("%.4f", slope);
                     }});
  columns.push_back(tables.Value("d E[err²], independent", input, &Measures::unit_error_independent));
  columns.push_back(tables.Value("at cosine ½", input, &Measures::unit_error_half));
  return "\n## Bits, and Gaussian keys and values\n\n"
         "`K bits`, `V bits`: everything counted, mean over the cases of head dimension 128. `net`: codes, scales,\n"
         "parameters and tile heads. `error`: relative squared error. `slope`, `d E[err²]`: inner products of unit\n"
         "vectors, the query independent of the key or at cosine ½ to it.\n\n" +
         tables.Render(columns);
}

std::string BiasTable(const RunResults& run, const Tables& tables) {
  std::vector<Column> columns;
  for (double bias : kBiases) {
    for (const char* shape : {"four", "all"}) {
      const std::string name =
          BiasedName(kBiasGroup, bias, *shape == 'f' ? BiasShape::kFourPairs : BiasShape::kAllPairs, 1024);
      if (run.InputNamed(name) == run.inputs.size()) continue;
      columns.push_back(tables.Value(absl::StrFormat("%g%s", bias, bias == 0 ? "" : std::string(" ") + shape), name,
                                     &Measures::logit_variance));
    }
  }
  if (columns.empty()) return "";
  return "\n## Biased keys: variance of the logit error over d\n\n"
         "By the norm of the bias, on four RoPE pairs or on all; 1,024 tokens from position 1000, base 1e6, head\n"
         "dimension 128; queries N(0, I).\n\n" +
         tables.Render(columns);
}

std::string AttentionTable(const RunResults& run, const Tables& tables) {
  const uint32_t tokens = ShownContext(run, kContextGroup);
  const auto at = [&](double bias) { return InputsWithBias(run, kContextGroup, bias, tokens); };
  const Inputs biased = SelectInputs(run, [](const CaseInfo& input) {
    return (input.group == kContextGroup && input.tokens <= 4096) || input.group == kHeadDimGroup ||
           input.group == kRopeGroup;
  });
  const Inputs odd =
      SelectInputs(run, [](const CaseInfo& input) { return input.group == kPathologyGroup && input.tokens <= 4096; });
  if (biased.empty() && odd.empty()) return "";
  const Inputs longest = SelectInputs(run, [](const CaseInfo& input) { return input.tokens == 32768; });
  std::vector<Column> columns;
  for (double bias : {0.0, 120.0, 600.0}) {
    if (biased.empty()) break;
    columns.push_back(tables.Worst(absl::StrFormat("output, bias %g", bias), at(bias), &Measures::output_error));
  }
  const auto add = [&](const Inputs& inputs, const std::string& name) {
    if (inputs.empty()) return;
    columns.push_back(tables.Geometric("output, " + name, inputs, &Measures::output_error));
    columns.push_back(tables.Geometric("KL, " + name, inputs, &Measures::attention_kl));
    columns.push_back(tables.Share("top-1 %", inputs, &Measures::top1));
    columns.push_back(tables.Share("top-8 %", inputs, &Measures::top8));
  };
  add(biased, "biased");
  add(odd, "pathologies");
  if (!longest.empty()) columns.push_back(tables.Geometric("output, 32k", longest, &Measures::output_error));
  return absl::StrFormat(
             "\n## Attention\n\n"
             "`output`: relative error of the attention output at %d tokens, the worse of bias on four and on all "
             "pairs.\n"
             "`biased`: geometric mean over contexts up to 4,096, head dimensions and RoPE variants, %d cases;\n"
             "`pathologies`: over %d cases; `32k`: over %d. `KL`: exact attention weights to estimated, nats.\n\n",
             tokens, biased.size(), odd.size(), longest.size()) +
         tables.Render(columns);
}

std::string CaseTable(const RunResults& run, const Tables& tables, const std::string& group, const std::string& title) {
  std::vector<Column> columns;
  for (size_t input : InputsOfGroup(run, group)) {
    const std::string& name = run.inputs[input].name;
    columns.push_back(tables.Value(name.substr(group.size() + 1), name, &Measures::output_error));
  }
  if (columns.empty()) return "";
  return "\n## " + title + ": relative error of the attention output\n\n" + tables.Render(columns);
}

std::string DumpTable(const RunResults& run, const Tables& tables) {
  const Inputs inputs = InputsOfGroup(run, kDumpGroup);
  if (inputs.empty()) return "";
  return absl::StrFormat("\n## Tensors of a model\n\nOver %d layers.\n\n", inputs.size()) +
         tables.Render({tables.Geometric("K error", inputs, &Measures::key_error),
                        tables.Geometric("V error", inputs, &Measures::value_error),
                        tables.Geometric("logit variance", inputs, &Measures::logit_variance),
                        tables.Geometric("output", inputs, &Measures::output_error),
                        tables.Worst("output, worst layer", inputs, &Measures::output_error),
                        tables.Geometric("KL", inputs, &Measures::attention_kl),
                        tables.Share("top-1 %", inputs, &Measures::top1),
                        tables.Share("top-8 %", inputs, &Measures::top8)});
}

// Keys with a residual plane, beside the same codes without it and beside codes that spend the bit on themselves.
struct ResidualRow {
  std::string with, without, rival;
};

std::string ResidualTable(const RunResults& run) {
  std::vector<ResidualRow> rows;
  for (int b = 1; b <= 4; ++b) {
    rows.push_back(
        {absl::StrFormat("k=turbo%dq,v=fp16", b), absl::StrFormat("turbo%d", b), absl::StrFormat("turbo%d", b + 1)});
  }
  for (int b = 2; b <= 4; ++b) {
    rows.push_back({absl::StrFormat("TurboQuant prod %d", b), absl::StrFormat("Lloyd-Max %d", b - 1),
                    absl::StrFormat("Lloyd-Max %d", b)});
  }
  for (int m : {1, 2, 4}) {
    rows.push_back({absl::StrFormat("QJL m=%dd", m), "", absl::StrFormat("Lloyd-Max %d", m)});
  }
  std::string text;
  for (const ResidualRow& row : rows) {
    const size_t with = run.SchemeNamed(row.with), without = run.SchemeNamed(row.without);
    const size_t rival = run.SchemeNamed(row.rival);
    if (with == run.schemes.size() || rival == run.schemes.size()) continue;
    const auto ratios = [&](const std::string& group, Field field) {
      const Inputs inputs = InputsOfGroup(run, group);
      const double mine = GeometricMean(run, with, inputs, field);
      const auto over = [&](size_t other) { return mine / GeometricMean(run, other, inputs, field); };
      return (without == run.schemes.size() ? "" : Number(over(without)) + " / ") + Number(over(rival));
    };
    absl::StrAppendFormat(
        &text, "| %s | %s | %s | %s | %s | %s |\n", row.with, ratios(kGaussianGroup, &Measures::unit_error_half),
        ratios(kGaussianGroup, &Measures::unit_error_independent), ratios(kGaussianGroup, &Measures::attention_kl),
        ratios(kBiasGroup, &Measures::attention_kl), ratios(kPathologyGroup, &Measures::attention_kl));
  }
  if (text.empty()) return "";
  return "\n## What QJL brings\n\n"
         "Ratios of keys' errors, geometric means, below 1 QJL helps. With a residual plane: to the same codes without "
         "it / to\n"
         "codes of the same bits. Signs of sketches alone: to codes of the same bits.\n\n"
         "| keys | d E[err²] at cosine ½ | independent | KL, Gaussian | KL, bias | KL, pathologies |\n"
         "|---|---:|---:|---:|---:|---:|\n" +
         text;
}

std::string BarTable(const std::vector<Bar>& bars) {
  if (bars.empty()) return "";
  std::string text = "\n## Bars\n\n| codec | bar | limit | measured | holds |\n|---|---|---:|---:|---|\n";
  for (const Bar& bar : bars) {
    const std::string limit =
        bar.low > 0 ? absl::StrFormat("%g-%g", bar.low, bar.high) : absl::StrFormat("%g", bar.high);
    absl::StrAppendFormat(&text, "| %s | %s | %s | %.4g | %s |\n", bar.scheme, bar.what, limit, bar.value,
                          bar.Holds() ? "yes" : "**no**");
  }
  return text;
}

}  // namespace

std::string MarkdownReport(const RunResults& run, const std::vector<Bar>& bars, const RunNotes& notes) {
  const Tables tables(run);
  std::string text = absl::StrFormat(
      "# Error against true bits\n\nProfile %s, %d cases, %d schemes; blocks of %d tokens, one layer, whose header and "
      "directory\n"
      "eight KV heads share. Codecs in bold: their bits count every byte of the blocks, from headers to checksums. Rivals\n"
      "count codes and parameters, and no container. A scheme that was left out of a case that a figure needs shows `-`.\n",
      notes.profile, run.inputs.size(), run.schemes.size(), notes.block_tokens);
  text += BarTable(bars);
  text += GaussianTable(run, tables);
  text += BiasTable(run, tables);
  text += AttentionTable(run, tables);
  text += CaseTable(run, tables, kPathologyGroup, "Pathologies");
  text += ResidualTable(run);
  text += DumpTable(run, tables);
  return text;
}

}  // namespace polarkv::quality
