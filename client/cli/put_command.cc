#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/profile_file.h"
#include "client/cli/progress_line.h"
#include "client/cli/put_plan.h"
#include "client/cli/server_connection.h"
#include "client/cli/text_format.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

// Sent in one call, so that --deadline bounds a known amount of work.
constexpr uint64_t kBatchBytes = 32 << 20;

struct PutOptions {
  ServerOptions server;
  NamespaceOptions ns;
  KeyOptions keys;
  std::string in, parent, profile;
};

constexpr char kFooter[] =
    R"(The namespace is made on first use, or confirmed: everything that must agree before two workers may share blocks is in its
descriptor, most of it from the blocks' headers (layers, heads, head_dim, RoPE, dtype, codec, tokens in a block), the rest
from the options here. An existing namespace with another descriptor is refused with the name of the field.

Blocks are tagged with namespace and key and stored as a chain, so that `match` and `get` find them by tokens. A block's
place in the chain follows from its first_position. A short last block is left out: it has no key. Every block's outcome is
reported; stored and duplicate are fine, everything else makes the exit code 1. Putting the same file again is harmless.
--deadline bounds each call; a call carries up to 32 MiB. Blocks that were encoded with --profile need it here too, the first
time: the server keeps it with the namespace.
)";

constexpr char kExamples[] = R"(
Examples:
  polarkv put --server localhost:7070 --namespace demo --model llama-3-8b --in kv.pkv --tokens tokens.json
  polarkv put --server localhost:7070 --namespace demo --model llama-3-8b --tenant acme --weights-digest 9f2c \
              --in kv.pkv --tokens tokens.bin --salt secret --json)";

bool IsFine(StoreOutcome outcome) { return outcome == StoreOutcome::kStored || outcome == StoreOutcome::kDuplicate; }

const char* Advice(StoreOutcome outcome) {
  switch (outcome) {
    case StoreOutcome::kConflict:
      return "the key names other bytes already, which stay; delete them first to replace them";
    case StoreOutcome::kNoSpace:
      return "the server is full; raise its budgets or wait until leases end";
    case StoreOutcome::kTooLarge:
      return "encode with fewer --block-tokens";
    case StoreOutcome::kUnsupported:
      return "the server is older than the encoder; upgrade it";
    case StoreOutcome::kNotAcknowledged:
      return "the server went away or was too slow; put the file again";
    default:
      return "see the server's log";
  }
}

// Tags one block, in memory only, and checks that it belongs.
absl::Status Tag(PkvFile& file, size_t block, const NamespaceHandle& ns, const BlockKey& key) {
  const std::span<uint8_t> bytes = file.PrivateBytes(block);
  TagBlock(bytes, std::span(ns.fingerprint).first<16>(), std::span(key.bytes).first<8>());
  const absl::StatusOr<BlockSpec> spec = ParseBlockHeader(bytes.first(sizeof(BlockHeader)));
  const absl::Status belongs = spec.ok() ? CheckBlockBelongs(*spec, ns.descriptor, ns.fingerprint, key) : spec.status();
  return Annotate(belongs, file.path() + ": block " + std::to_string(block));
}

// Stores batch after batch and ends after the first with a block that is not stored: nothing after it could be matched.
absl::StatusOr<std::vector<StoreOutcome>> StoreAll(KvClient& client, const NamespaceHandle& ns, PkvFile& file,
                                                   const PutPlan& plan, const ServerOptions& server) {
  ProgressLine progress("storing", plan.keys.size(), "blocks");
  std::vector<StoreOutcome> outcomes;
  while (outcomes.size() < plan.keys.size()) {
    std::vector<StoreItem> batch;
    uint64_t bytes = 0;
    for (size_t i = outcomes.size(); i < plan.keys.size() && bytes < kBatchBytes; ++i) {
      if (absl::Status s = Tag(file, i, ns, plan.keys[i]); !s.ok()) return s;
      batch.push_back({plan.keys[i], i == 0 ? plan.parent : plan.keys[i - 1], file.PrivateBytes(i)});
      bytes += batch.back().block.size();
    }
    std::vector<StoreOutcome> stored(batch.size(), StoreOutcome::kNotAcknowledged);
    const absl::Status status = client.Store(ns, batch, stored);
    outcomes.insert(outcomes.end(), stored.begin(), stored.end());
    if (!status.ok()) {
      const auto fine = std::count_if(outcomes.begin(), outcomes.end(), IsFine);
      return Annotate(ExplainServerError(status, server),
                      Plural(static_cast<uint64_t>(fine), "block") + " stored, then it failed; put the file again");
    }
    progress.Update(outcomes.size());
    if (!std::all_of(stored.begin(), stored.end(), IsFine)) break;
  }
  return outcomes;
}

absl::Status Report(const PutOptions& options, const NamespaceHandle& ns, const PutPlan& plan,
                    const std::vector<StoreOutcome>& outcomes, size_t short_blocks) {
  std::map<std::string, size_t> counts;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (size_t i = 0; i < plan.keys.size(); ++i) {
    const std::string outcome = i < outcomes.size() ? StoreOutcomeName(outcomes[i]) : "not sent";
    ++counts[outcome];
    list.push_back({{"index", i}, {"key", plan.keys[i].ToHex()}, {"outcome", outcome}});
    if (!options.server.json) std::printf("%5zu  %s  %s\n", i, plan.keys[i].ToHex().c_str(), outcome.c_str());
  }
  if (options.server.json) {
    PrintJson({{"namespace", ns.descriptor.name},
               {"fingerprint", HexText(ns.fingerprint)},
               {"outcomes", counts},
               {"short_blocks_left_out", short_blocks},
               {"blocks", list}});
  } else {
    std::string summary;
    for (const auto& [outcome, count] : counts) {
      summary += (summary.empty() ? "" : ", ") + std::to_string(count) + " " + outcome;
    }
    std::printf("%s on %s: %s\n", ns.descriptor.name.c_str(), options.server.server.c_str(), summary.c_str());
  }
  const auto bad = std::find_if_not(outcomes.begin(), outcomes.end(), IsFine);
  if (bad == outcomes.end()) return absl::OkStatus();
  return absl::FailedPreconditionError("block " + std::to_string(bad - outcomes.begin()) + ": " +
                                       StoreOutcomeName(*bad) + "; " + Advice(*bad));
}

absl::Status RunPut(const PutOptions& options) {
  if (absl::Status s = CheckKeyOptions(options.keys); !s.ok()) return s;
  if (options.ns.shards == 0 || options.ns.shards > kMaxKvHeads) {
    return UsageError("--shards is " + std::to_string(options.ns.shards) + "; it must be from 1 to " +
                      std::to_string(kMaxKvHeads));
  }
  if (!options.parent.empty() && options.keys.keys.empty())
    return UsageError("--parent has a meaning with --keys only");
  const absl::StatusOr<KeyMeanProfilePtr> profile = LoadProfile(options.profile);
  if (!profile.ok()) return profile.status();
  absl::StatusOr<PkvFile> file = PkvFile::Open(options.in, *profile);
  if (!file.ok()) return file.status();
  const absl::StatusOr<NamespaceDescriptor> descriptor = DescribeNamespace(*file, options.ns);
  if (!descriptor.ok()) return descriptor.status();
  const absl::StatusOr<PutPlan> plan =
      PlanPut(*file, *descriptor, NamespaceFingerprint(*descriptor), options.keys, options.parent);
  if (!plan.ok()) return plan.status();
  const size_t short_blocks = file->blocks().size() - plan->keys.size();
  if (short_blocks > 0) PrintNote(options.in + ": the short last block is not stored; only full blocks have keys");

  const absl::StatusOr<std::unique_ptr<KvClient>> client = Connect(options.server);
  if (!client.ok()) return client.status();
  const absl::StatusOr<NamespaceHandle> ns = (*client)->OpenNamespace(*descriptor, {}, *profile);
  if (!ns.ok()) return ExplainServerError(ns.status(), options.server);
  const absl::StatusOr<std::vector<StoreOutcome>> outcomes = StoreAll(**client, *ns, *file, *plan, options.server);
  if (!outcomes.ok()) return outcomes.status();
  return Report(options, *ns, *plan, *outcomes, short_blocks);
}

void AddDescriptorOptions(Subcommand* command, NamespaceOptions* options) {
  command->RequiredText("--namespace", &options->name, "NAME", "Name: letters, digits, . _ / -");
  command->RequiredText("--model", &options->model, "TEXT", "Model id");
  command->Text("--tenant", &options->tenant, "TEXT", "Whose blocks these are");
  command->Text("--weights-digest", &options->weights_digest, "TEXT", "Text that changes with the weights");
  command->Text("--tokenizer-digest", &options->tokenizer_digest, "TEXT", "Text that changes with the tokenizer");
  command->Text("--rope-scaling", &options->rope_scaling, "TEXT", "RoPE scaling in the engine's own words");
  command->Number("--shards", &options->shards, "Into how many blocks the model's KV heads are split");
}

}  // namespace

void AddPutCommand(CommandLine& line) {
  auto options = std::make_shared<PutOptions>();
  Subcommand command = line.Add("put", "Store a file of blocks on a server", [options] { return RunPut(*options); });
  AddServerOptions(&command, &options->server);
  AddDescriptorOptions(&command, &options->ns);
  command.RequiredText("--in", &options->in, "FILE", "File of blocks (.pkv)");
  AddKeyOptions(&command, &options->keys);
  command.Text("--profile", &options->profile, "FILE", "Key-mean profile that the blocks name (.pkm); the server keeps it");
  command.Text("--parent", &options->parent, "HEX", "With --keys: key of the block before the first one");
  command.Explain(kFooter + KeyHelp() + kExamples);
}

}  // namespace polarkv::cli
