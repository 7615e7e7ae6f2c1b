#include "tests/quality/quality_program.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "client/cli/cli_status.h"
#include "client/cli/input_file.h"
#include "client/cli/output_file.h"
#include "tests/quality/baseline_schemes.h"
#include "tests/quality/dump_case.h"
#include "tests/quality/report_plots.h"

namespace polarkv::quality {
namespace {

SchemeChoice AllSchemes(uint32_t block_tokens) {
  SchemeChoice all;
  for (const NamedPair& known : KnownPairs()) {
    all.schemes.push_back(std::make_unique<BlockScheme>(known.name, known.pair, block_tokens));
    if (!known.aliases.empty()) all.aliases[known.name] = known.aliases;
  }
  if (const absl::StatusOr<CodecPair> pair = ParseCodecPair("default"); pair.ok()) {
    for (const auto& [name, means] :
         {std::pair{kShortBlocks, MeanSource::kBlock}, std::pair{kShortProfiled, MeanSource::kProfile}}) {
      all.schemes.push_back(std::make_unique<BlockScheme>(name, name, *pair, kShortBlockTokens, means));
    }
  }
  for (auto& baseline : BaselineSchemes()) all.schemes.push_back(std::move(baseline));
  return all;
}

// A wanted name is a scheme's, an alias, or a pair of codecs, in which a semicolon may stand for the comma.
absl::Status ChooseOne(const std::string& wanted, uint32_t block_tokens, SchemeChoice& all, SchemeChoice& chosen) {
  std::string text = wanted;
  std::ranges::replace(text, ';', ',');
  const absl::StatusOr<CodecPair> pair = ParseCodecPair(text);
  const std::string name = pair.ok() ? CodecPairName(*pair) : wanted;
  const auto same = [&name](const auto& scheme) { return scheme != nullptr && scheme->name() == name; };
  if (std::ranges::any_of(chosen.schemes, same)) return absl::OkStatus();
  if (const auto found = std::ranges::find_if(all.schemes, same); found != all.schemes.end()) {
    chosen.schemes.push_back(std::move(*found));
    return absl::OkStatus();
  }
  if (pair.ok()) {
    chosen.schemes.push_back(std::make_unique<BlockScheme>(name, *pair, block_tokens));
    return absl::OkStatus();
  }
  std::string names;
  for (const auto& scheme : all.schemes) {
    if (scheme != nullptr) names += (names.empty() ? "" : ", ") + scheme->name();
  }
  return absl::InvalidArgumentError("--schemes: there is no '" + wanted + "'; there are " + names);
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  absl::StatusOr<cli::OutputFile> file = cli::OutputFile::Create(path);
  if (!file.ok()) return file.status();
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  if (absl::Status s = file->Append(std::span(bytes, text.size())); !s.ok()) return s;
  return file->Commit();
}

absl::StatusOr<std::vector<KvCase>> LoadDumps(const QualityOptions& options) {
  std::vector<KvCase> cases;
  for (const std::string& path : options.dumps) {
    absl::StatusOr<std::vector<KvCase>> loaded = LoadDumpCases(path);
    if (!loaded.ok()) return loaded.status();
    std::ranges::move(*loaded, std::back_inserter(cases));
  }
  return cases;
}

}  // namespace

absl::StatusOr<SchemeChoice> ChooseSchemes(const QualityOptions& options) {
  SchemeChoice all = AllSchemes(options.block_tokens);
  if (options.schemes.empty()) return all;
  SchemeChoice chosen;
  chosen.aliases = all.aliases;
  for (const std::string& wanted : options.schemes) {
    if (absl::Status s = ChooseOne(wanted, options.block_tokens, all, chosen); !s.ok()) return s;
  }
  return chosen;
}

absl::StatusOr<RunResults> Measure(const QualityOptions& options) {
  absl::StatusOr<SchemeChoice> choice = ChooseSchemes(options);
  if (!choice.ok()) return choice.status();
  const absl::StatusOr<std::vector<KvCase>> dumps = LoadDumps(options);
  if (!dumps.ok()) return dumps.status();
  std::vector<SyntheticSpec> specs = SuiteSpecs(options.profile);
  std::erase_if(specs, [&options](const SyntheticSpec& spec) {
    return !options.groups.empty() && std::ranges::count(options.groups, spec.group) == 0;
  });
  QualityRun run(std::move(choice->schemes), choice->aliases, {options.threads, options.case_limit_s, true});
  size_t left = specs.size() + dumps->size();
  for (const SyntheticSpec& spec : specs) {
    if (absl::Status s = run.Add(MakeSyntheticCase(spec), --left); !s.ok()) return s;
  }
  for (const KvCase& kv : *dumps) {
    if (absl::Status s = run.Add(kv, --left); !s.ok()) return s;
  }
  return run.results();
}

absl::StatusOr<ReadRun> MeasureOrRead(const QualityOptions& options) {
  if (options.render.empty()) {
    absl::StatusOr<RunResults> run = Measure(options);
    if (!run.ok()) return run.status();
    return ReadRun{*std::move(run), {options.profile == Profile::kFull ? "full" : "quick", options.block_tokens}};
  }
  const absl::StatusOr<cli::InputFile> file = cli::InputFile::Open(options.render);
  if (!file.ok()) return file.status();
  absl::StatusOr<ReadRun> read = ReadJsonReport(std::string(file->bytes().begin(), file->bytes().end()));
  if (!read.ok()) return cli::Annotate(read.status(), options.render);
  return read;
}

absl::Status WriteReports(const std::string& folder, const ReadRun& read, const std::vector<Bar>& bars) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::FailedPreconditionError(folder + ": cannot make the folder: " + error.message());
  if (absl::Status s = WriteText(folder + "/report.md", MarkdownReport(read.run, bars, read.notes)); !s.ok()) return s;
  if (absl::Status s = WriteText(folder + "/report.json", JsonReport(read.run, bars, read.notes)); !s.ok()) return s;
  for (const NamedPlot& named : ReportPlots(read.run)) {
    if (absl::Status s = WriteText(folder + "/" + named.file, RenderSvg(named.plot)); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace polarkv::quality
