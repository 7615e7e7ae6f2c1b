#include "tests/quality/quality_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <thread>

#include "codec/block_format.h"

namespace polarkv::quality {
namespace {

constexpr char kAbout[] =
    "Measures what every codec of this build loses at its true bits, beside the published rivals on the same data.";
constexpr char kFooter[] =
    "Writes report.md, report.json and *.svg into the --out folder. Codecs go the way that a worker goes: blocks are\n"
    "encoded, parsed with every check, decoded and attended on.\n\n"
    "Exit codes: 0 done; 1 a bad file, a codec that failed, or with --check a bar that does not hold or was not\n"
    "measured; 2 wrong flags.\n\n"
    "Examples:\n"
    "  polarkv-quality --quick --out /tmp/quality\n"
    "  polarkv-quality --schemes default,compact,'KIVI int4 G=128' --groups bias,context\n"
    "  polarkv-quality --groups none --dump model.safetensors --out model-quality";

std::vector<std::string> GroupNames() {
  std::vector<std::string> names = SyntheticGroups();
  names.push_back("none");
  return names;
}

std::string BlockTokensProblem(uint32_t tokens) {
  if (tokens != 0 && tokens % kTileTokens == 0 && tokens <= kMaxBlockTokens) return "";
  return "--block-tokens is " + std::to_string(tokens) + "; it must be a multiple of " + std::to_string(kTileTokens) +
         " up to " + std::to_string(kMaxBlockTokens);
}

}  // namespace

bool ParseQualityOptions(int argc, const char* const* argv, QualityOptions& options, int& exit_code) {
  CLI::App app(kAbout, "polarkv-quality");
  app.footer(kFooter);
  bool quick = false;
  options.threads = std::max(1u, std::thread::hardware_concurrency());
  app.add_option("--out", options.out, "Folder of the report; made if it is not there")->capture_default_str();
  app.add_flag("--quick", quick, "A part of the cases, a minute or two");
  app.add_option("--groups", options.groups,
                 "Synthetic inputs to measure: gaussian, bias, context, head_dim, rope, "
                 "pathology, draws; none (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember(GroupNames()));
  app.add_option("--schemes", options.schemes,
                 "Codecs, aliases, pairs (k=turbo4;v=turbo3) and rivals to measure, by the "
                 "names of the report (default: all)")
      ->delimiter(',');
  app.add_option("--dump", options.dumps,
                 "Safetensors file with tensors k, v and perhaps q, as for polarkv encode; "
                 "may be repeated");
  app.add_option("--block-tokens", options.block_tokens, "Tokens of a block")->capture_default_str();
  app.add_option("--threads", options.threads, "Schemes measured at the same time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--case-limit-s", options.case_limit_s, "Leave a codec out of cases that would take it longer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--render", options.render, "Measure nothing; write tables and plots of this report.json anew");
  CLI::Option* check = app.add_flag("--check", options.check, "Exit 1 if a bar does not hold, or was not measured");
  app.add_flag("--partial", options.partial, "With --check: bars that were not measured do not count")->needs(check);
  try {
    app.parse(argc, argv);
    if (const std::string problem = BlockTokensProblem(options.block_tokens); !problem.empty()) {
      throw CLI::ValidationError(problem);
    }
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? 0 : 2;
    return false;
  }
  if (quick) options.profile = Profile::kQuick;
  return true;
}

}  // namespace polarkv::quality
