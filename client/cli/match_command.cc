#include <cstdio>
#include <memory>
#include <numeric>
#include <string>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/namespace_lookup.h"
#include "client/cli/text_format.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

constexpr char kFooter[] =
    R"(Asks for the longest stored prefix of a chain of blocks and says why it ends where it does: all matched, not stored,
evicted, deleted, corrupt, lost at restart. A match keeps nothing from being evicted later; `get` does while it fetches.
Exit code 3 when not even the first block is stored.
)";

constexpr char kExamples[] = R"(
Examples:
  polarkv match --server localhost:7070 --namespace demo --tokens tokens.json
  polarkv match --server localhost:7070 --namespace demo --tokens tokens.json --json)";

void Report(const LookupOptions& options, const Lookup& lookup, const PrefixMatch& match) {
  const uint64_t bytes = std::accumulate(match.block_bytes.begin(), match.block_bytes.end(), uint64_t{0});
  const uint64_t tokens = uint64_t{match.matched_blocks} * lookup.ns.descriptor.block_tokens;
  if (options.server.json) {
    PrintJson({{"namespace", options.ns},
               {"blocks_asked", lookup.keys.size()},
               {"matched_blocks", match.matched_blocks},
               {"matched_tokens", tokens},
               {"matched_bytes", bytes},
               {"stop", MatchStopName(match.stop)}});
    return;
  }
  std::printf("%s: %u of %s match: %s, %s\n", options.ns.c_str(), match.matched_blocks,
              Plural(lookup.keys.size(), "block").c_str(), Plural(tokens, "token").c_str(), HumanBytes(bytes).c_str());
  if (match.matched_blocks < lookup.keys.size()) {
    std::printf("  stopped at block %u: %s (key %s)\n", match.matched_blocks, MatchStopName(match.stop),
                lookup.keys[match.matched_blocks].ToHex().c_str());
  }
}

absl::Status RunMatch(const LookupOptions& options) {
  const absl::StatusOr<Lookup> lookup = OpenLookup(options, WantKeys::kYes);
  if (!lookup.ok()) return lookup.status();
  const absl::StatusOr<PrefixMatch> match = lookup->client->Match(lookup->ns, lookup->keys);
  if (!match.ok()) return ExplainServerError(match.status(), options.server);
  Report(options, *lookup, *match);
  if (match->matched_blocks > 0) return absl::OkStatus();
  return MissError("no block of the prefix is stored: " + std::string(MatchStopName(match->stop)));
}

}  // namespace

void AddMatchCommand(CommandLine& line) {
  auto options = std::make_shared<LookupOptions>();
  Subcommand command =
      line.Add("match", "Find the longest stored prefix of a token sequence", [options] { return RunMatch(*options); });
  AddLookupOptions(&command, options.get());
  command.Explain(kFooter + KeyHelp() + kExamples);
}

}  // namespace polarkv::cli
