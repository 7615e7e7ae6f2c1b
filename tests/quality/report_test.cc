// Reports of a small run, and the bars that the aliases of this build have to clear.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/quality/baseline_schemes.h"
#include "tests/quality/quality_program.h"
#include "tests/quality/report_plots.h"
#include "tests/quality/report_tables.h"

namespace polarkv::quality {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const RunResults& SmallRun() {
  static const auto* run = [] {
    QualityOptions options;
    options.profile = Profile::kQuick;
    options.groups = {kGaussianGroup, kContextGroup};
    options.schemes = {"turbo4", "turbo3", kKivi4, kLloydMax4};
    absl::StatusOr<RunResults> results = Measure(options);
    EXPECT_TRUE(results.ok()) << results.status();
    return new RunResults(*std::move(results));
  }();
  return *run;
}

// Whether elements nest and are closed, attributes are quoted, and text has no bare '<' or '&'. Returns what is wrong.
std::string XmlProblem(const std::string& text) {
  static const std::regex tag(R"re(<(/?)([a-z]+)((?: [a-zA-Z0-9:-]+="[^"<]*")*)(/?)>)re");
  static const std::regex bare(R"(&(?!amp;|lt;|gt;|quot;))");
  if (std::regex_search(text, bare)) return "a bare &";
  std::vector<std::string> open;
  std::string rest = text;
  for (std::smatch match; std::regex_search(rest, match, tag); rest = match.suffix()) {
    if (match.prefix().str().find_first_of("<>") != std::string::npos) return "not a tag: " + match.prefix().str();
    if (match[1].length() != 0) {
      if (open.empty() || open.back() != match[2]) return "closes " + match[2].str();
      open.pop_back();
    } else if (match[4].length() == 0) {
      open.push_back(match[2]);
    }
  }
  if (rest.find_first_of("<>") != std::string::npos) return "not a tag: " + rest;
  return open.empty() ? "" : "left open: " + open.back();
}

TEST(XmlProblem, FindsDefects) {
  EXPECT_EQ(XmlProblem("<a b=\"1\"><c/>x &lt; y</a>\n"), "");
  EXPECT_NE(XmlProblem("<a><c></a>"), "");
  EXPECT_NE(XmlProblem("<a>x < y</a>"), "");
  EXPECT_NE(XmlProblem("<a>x & y</a>"), "");
  EXPECT_NE(XmlProblem("<a>"), "");
}

TEST(Plots, AreWellFormedWhateverTheLabels) {
  const Plot hostile{"a < b & \"c\"", "<x>", "&y", true, {{"s<1>", {{1, 1, "&<>"}, {2, 0, "no"}, {3, NAN, "no"}}}}};
  EXPECT_EQ(XmlProblem(RenderSvg(hostile)), "");
  EXPECT_EQ(XmlProblem(RenderSvg({"empty", "", "", true, {}})), "");
  EXPECT_EQ(RenderSvg(hostile).find("nan"), std::string::npos);
}

TEST(Plots, OfARunAreWellFormedAndSmall) {
  const std::vector<NamedPlot> plots = ReportPlots(SmallRun());
  EXPECT_GE(plots.size(), 3u);
  for (const NamedPlot& named : plots) {
    const std::string svg = RenderSvg(named.plot);
    EXPECT_EQ(XmlProblem(svg), "") << named.file;
    EXPECT_LT(svg.size(), 64u << 10) << named.file;
    EXPECT_THAT(svg, HasSubstr("turbo4")) << named.file;
  }
}

TEST(Reports, JsonHoldsEveryFigure) {
  const RunResults& run = SmallRun();
  const nlohmann::json json = nlohmann::json::parse(JsonReport(run, CheckBars(run), {"quick", 512}), nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_EQ(json["results"].size(), run.inputs.size() * run.schemes.size());
  for (const auto& result : json["results"]) {
    for (const MeasureField& field : MeasureFields()) {
      ASSERT_TRUE(result[field.name].is_number()) << result["case"] << " " << field.name;
    }
    EXPECT_GT(result["bits"]["k"].get<double>(), 3);
  }
}

TEST(Reports, AReadReportSaysTheSameAgain) {
  const std::string json = JsonReport(SmallRun(), CheckBars(SmallRun()), {"quick", 512});
  const absl::StatusOr<ReadRun> read = ReadJsonReport(json);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(JsonReport(read->run, CheckBars(read->run), read->notes), json);
  EXPECT_EQ(MarkdownReport(read->run, {}, read->notes), MarkdownReport(SmallRun(), {}, {"quick", 512}));
}

TEST(Reports, RefuseToReadWhatIsNoReport) {
  for (const char* text : {"", "{", "[]", "{\"profile\": 3}", "{\"profile\": \"full\", \"block_tokens\": 1}"}) {
    EXPECT_EQ(ReadJsonReport(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(Reports, MarkdownTablesAreWhole) {
  const RunResults& run = SmallRun();
  const std::string text = MarkdownReport(run, {}, {"quick", 512});
  EXPECT_THAT(text, HasSubstr("KIVI int4 G=128"));
  size_t columns = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto bars = static_cast<size_t>(std::ranges::count(line, '|'));
    if (bars == 0) columns = 0;
    if (bars == 0) continue;
    if (columns == 0) columns = bars;
    EXPECT_EQ(bars, columns) << line;
  }
}

TEST(Reports, OmissionsAreNotTakenForResults) {
  QualityRun run(BaselineSchemes(), {}, {.threads = 2, .case_limit_s = 1e-9, .progress = false});
  const KvCase kv = MakeSyntheticCase({.name = "a", .group = kContextGroup, .tokens = 64});
  ASSERT_TRUE(run.Add(kv, 1).ok());
  ASSERT_TRUE(run.Add(kv, 0).ok());
  EXPECT_EQ(run.results().results.size(), run.results().schemes.size());
  EXPECT_EQ(run.results().omissions.size(), run.results().schemes.size());
  EXPECT_EQ(run.results().Find(0, 1), nullptr);
}

TEST(Bars, SayWhichSideTheyFailOn) {
  EXPECT_TRUE((Bar{"", "", 1, .998, 1.002}).Holds());
  EXPECT_FALSE((Bar{"", "", .99, .998, 1.002}).Holds());
  EXPECT_FALSE((Bar{"", "", 1.01, .998, 1.002}).Holds());
  EXPECT_FALSE((Bar{"", "", std::nan(""), 0, 1}).Holds());
}

// Two results of a scheme a case: one draw is 4 % worse than the rival's, the other 6 % better.
TEST(Bars, ComparedSchemesAreJudgedByAllDraws) {
  RunResults run;
  run.schemes = {{"turbo4", "turbo", "default", SchemeKind::kCodec}, {kKivi4, "", "", SchemeKind::kBaseline}};
  run.inputs = {{"bias/0/four/1024", kBiasGroup, 0, 1024, 128}, {"bias/0/four/1024#2", kDrawGroup, 0, 1024, 128}};
  const auto add = [&run](size_t scheme, size_t input, double error) {
    run.results.push_back({scheme, input, {}, {}, {}});
    run.results.back().measures.output_error = error;
  };
  add(0, 0, 1.04), add(0, 1, .94), add(1, 0, 1), add(1, 1, 1);
  const auto bar = [&run] {
    for (const Bar& found : CheckBars(run)) {
      if (found.what.find("output error over that of KIVI") != std::string::npos) return found;
    }
    return Bar{};
  };
  EXPECT_NEAR(bar().value, std::sqrt(1.04 * .94), 1e-12);
  EXPECT_TRUE(bar().Holds());
  run.results[1].measures.output_error = .97;
  EXPECT_FALSE(bar().Holds());
  run.inputs[1].group = kPathologyGroup;  // no draws: what one may exceed 1 by is allowed
  EXPECT_NEAR(bar().value, 1.04, 1e-12);
  EXPECT_TRUE(bar().Holds());
}

// The case that is missing might have been the worst.
TEST(Bars, ARivalThatMissesACaseIsNotMeasured) {
  RunResults run;
  run.schemes = {{"turbo4", "turbo", "default", SchemeKind::kCodec}, {kKivi4, "", "", SchemeKind::kBaseline}};
  run.inputs = {{"bias/0/four/1024", kBiasGroup, 0, 1024, 128}, {"bias/0/all/1024", kBiasGroup, 0, 1024, 128}};
  run.results = {{0, 0, {}, {}, {}}, {0, 1, {}, {}, {}}, {1, 0, {}, {}, {}}};
  for (Result& result : run.results) result.measures.output_error = .1;
  const auto has_rival = [](const std::vector<Bar>& bars) {
    return std::ranges::any_of(bars, [](const Bar& bar) { return bar.what.find("that of KIVI") != std::string::npos; });
  };
  EXPECT_TRUE(has_rival(CheckAllBars(run).unmeasured));
  EXPECT_FALSE(has_rival(CheckBars(run)));
  run.results.push_back({1, 1, {}, {}, {}});
  run.results.back().measures.output_error = .1;
  EXPECT_FALSE(has_rival(CheckAllBars(run).unmeasured));
  EXPECT_TRUE(has_rival(CheckBars(run)));
}

TEST(Bars, CasesThatARunLacksAreNamed) {
  RunResults run;
  for (const SyntheticSpec& spec : SuiteSpecs(Profile::kFull)) run.inputs.push_back({spec.name, spec.group, 0, 0, 0});
  EXPECT_TRUE(MissingCases(run).empty());
  const std::string last = run.inputs.back().name;
  run.inputs.pop_back();
  EXPECT_EQ(MissingCases(run), std::vector<std::string>{last});
}

// The promises about default, compact and small, as far as this build has them.
TEST(Bars, HoldForTheAliasesThatExist) {
  QualityOptions options;
  options.profile = Profile::kQuick;
  options.groups = {kGaussianGroup, kBiasGroup, kContextGroup};
  for (const char* alias : {"default", "compact", "small"}) {
    if (ParseCodecPair(alias).ok()) options.schemes.push_back(alias);
  }
  if (options.schemes.empty()) GTEST_SKIP() << "this build has none of the aliases default, compact, small";
  options.schemes.insert(options.schemes.end(), {kKivi4, kLloydMax4});
  const absl::StatusOr<RunResults> run = Measure(options);
  ASSERT_TRUE(run.ok()) << run.status();
  const std::vector<Bar> bars = CheckBars(*run);
  EXPECT_GE(bars.size(), 2u);
  for (const Bar& bar : bars) {
    EXPECT_TRUE(bar.Holds()) << bar.scheme << ": " << bar.what << " is " << bar.value << ", allowed " << bar.low
                             << " to " << bar.high;
  }
}

}  // namespace
}  // namespace polarkv::quality
