#include <cstdio>
#include <memory>
#include <string>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/namespace_lookup.h"
#include "client/cli/text_format.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

struct DeleteOptions {
  LookupOptions lookup;
  bool all = false;
  bool yes = false;
};

constexpr char kFooter[] =
    R"(Deletes the named blocks, or with --all --yes the whole namespace with its descriptor. A block that a reader holds a lease
on goes when the lease ends, but is not matched any more. Blocks that follow a deleted one in a chain stay stored, but no
match reaches them. Exit code 3 when none of the blocks was stored.
)";

constexpr char kExamples[] = R"(
Examples:
  polarkv delete --server localhost:7070 --namespace demo --tokens tokens.json
  polarkv delete --server localhost:7070 --namespace demo --all --yes)";

absl::Status CheckOptions(const DeleteOptions& options) {
  const KeyOptions& keys = options.lookup.keys;
  if (!options.all) {
    if (options.yes) return UsageError("--yes goes with --all");
    return CheckKeyOptions(keys);
  }
  if (!keys.tokens.empty() || !keys.keys.empty())
    return UsageError("--all deletes everything; leave out --tokens and --keys");
  if (!options.yes) {
    return UsageError("--all deletes the whole namespace '" + options.lookup.ns + "'; add --yes if that is meant");
  }
  return absl::OkStatus();
}

absl::Status RunDelete(const DeleteOptions& options) {
  if (absl::Status s = CheckOptions(options); !s.ok()) return s;
  const absl::StatusOr<Lookup> lookup = OpenLookup(options.lookup, options.all ? WantKeys::kNo : WantKeys::kYes);
  if (!lookup.ok()) return lookup.status();
  const absl::StatusOr<uint64_t> deleted =
      options.all ? lookup->client->DeleteNamespace(lookup->ns) : lookup->client->Delete(lookup->ns, lookup->keys);
  if (!deleted.ok()) return ExplainServerError(deleted.status(), options.lookup.server);
  if (options.lookup.server.json) {
    PrintJson({{"namespace", options.lookup.ns}, {"whole_namespace", options.all}, {"deleted_blocks", *deleted}});
  } else {
    std::printf("%s: deleted %s%s\n", options.lookup.ns.c_str(), Plural(*deleted, "block").c_str(),
                options.all ? " and the namespace" : "");
  }
  if (*deleted > 0 || options.all) return absl::OkStatus();
  return MissError("none of the blocks was stored");
}

}  // namespace

void AddDeleteCommand(CommandLine& line) {
  auto options = std::make_shared<DeleteOptions>();
  Subcommand command =
      line.Add("delete", "Delete blocks, or a whole namespace", [options] { return RunDelete(*options); });
  AddLookupOptions(&command, &options->lookup);
  command.Flag("--all", &options->all, "Delete the whole namespace");
  command.Flag("--yes", &options->yes, "Confirms --all");
  command.Explain(kFooter + KeyHelp() + kExamples);
}

}  // namespace polarkv::cli
