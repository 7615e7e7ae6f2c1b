#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/namespace_lookup.h"
#include "client/cli/text_format.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

constexpr char kFooter[] =
    R"(Looks at each block apart from the others and extends no block's life. Exit code 3 when one of them is absent. For the
longest usable prefix ask `match`.
)";

constexpr char kExamples[] = R"(
Examples:
  polarkv exists --server localhost:7070 --namespace demo --tokens tokens.json
  polarkv exists --server localhost:7070 --namespace demo --keys 5a9c...,77d0... --json)";

void Report(const LookupOptions& options, const Lookup& lookup, const std::vector<bool>& stored) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (size_t i = 0; i < stored.size(); ++i) {
    list.push_back({{"index", i}, {"key", lookup.keys[i].ToHex()}, {"stored", bool{stored[i]}}});
    if (!options.server.json) {
      std::printf("%5zu  %s  %s\n", i, lookup.keys[i].ToHex().c_str(), stored[i] ? "stored" : "absent");
    }
  }
  if (options.server.json) PrintJson({{"namespace", options.ns}, {"blocks", list}});
}

absl::Status RunExists(const LookupOptions& options) {
  const absl::StatusOr<Lookup> lookup = OpenLookup(options, WantKeys::kYes);
  if (!lookup.ok()) return lookup.status();
  const absl::StatusOr<std::vector<bool>> stored = lookup->client->Exists(lookup->ns, lookup->keys);
  if (!stored.ok()) return ExplainServerError(stored.status(), options.server);
  Report(options, *lookup, *stored);
  const auto absent = static_cast<uint64_t>(std::count(stored->begin(), stored->end(), false));
  if (absent == 0) return absl::OkStatus();
  return MissError(std::to_string(absent) + " of " + Plural(stored->size(), "block") + " absent");
}

}  // namespace

void AddExistsCommand(CommandLine& line) {
  auto options = std::make_shared<LookupOptions>();
  Subcommand command = line.Add("exists", "Ask which blocks are stored", [options] { return RunExists(*options); });
  AddLookupOptions(&command, options.get());
  command.Explain(kFooter + KeyHelp() + kExamples);
}

}  // namespace polarkv::cli
