#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/format_names.h"
#include "client/cli/server_connection.h"
#include "client/cli/text_format.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

constexpr char kFooter[] =
    R"(One line for each namespace: what is stored, and the model, codec and geometry (layers x KV heads x head_dim) that every
block of it has. --json prints the whole descriptors and fingerprints.

Examples:
  polarkv namespaces --server localhost:7070
  polarkv namespaces --server localhost:7070 --json)";

nlohmann::ordered_json Describe(const NamespaceInfo& info) {
  const NamespaceDescriptor& d = info.descriptor;
  nlohmann::ordered_json json = {
      {"name", d.name}, {"fingerprint", HexText(info.fingerprint)}, {"blocks", info.blocks}, {"bytes", info.bytes}};
  if (!info.problem.empty()) {
    json["problem"] = info.problem;
    return json;
  }
  json.update({{"tenant", d.tenant},
               {"model", d.model},
               {"weights_digest", d.weights_digest},
               {"tokenizer_digest", d.tokenizer_digest},
               {"layers", d.layers},
               {"kv_heads", d.kv_heads},
               {"head_dim", d.head_dim},
               {"rope", RopePairingName(d.rope.pairing)},
               {"rope_base", d.rope.base},
               {"rope_dims", d.rope.dims},
               {"rope_scaling", d.rope_scaling},
               {"source_dtype", DtypeName(d.source_dtype)},
               {"block_tokens", d.block_tokens},
               {"shards", d.shards},
               {"codec", CodecPairName(d.codec)},
               {"rotation_seed", d.rotation_seed},
               {"profile_digest", HexText(d.profile_digest)}});
  return json;
}

void PrintLine(const NamespaceInfo& info, int name_width) {
  const NamespaceDescriptor& d = info.descriptor;
  std::printf("%-*s %8llu %12s  ", name_width, d.name.c_str(), static_cast<unsigned long long>(info.blocks),
              HumanBytes(info.bytes).c_str());
  if (!info.problem.empty()) {
    std::printf("not usable: %s\n", info.problem.c_str());
    return;
  }
  std::printf("%-22s %-14s %7u  %s\n", CodecPairName(d.codec).c_str(),
              (std::to_string(d.layers) + "x" + std::to_string(d.kv_heads) + "x" + std::to_string(d.head_dim)).c_str(),
              d.block_tokens, d.model.c_str());
}

absl::Status RunNamespaces(const ServerOptions& options) {
  const absl::StatusOr<std::unique_ptr<KvClient>> client = Connect(options);
  if (!client.ok()) return client.status();
  const absl::StatusOr<std::vector<NamespaceInfo>> known = (*client)->ListNamespaces();
  if (!known.ok()) return ExplainServerError(known.status(), options);
  if (options.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const NamespaceInfo& info : *known) list.push_back(Describe(info));
    PrintJson({{"namespaces", list}});
    return absl::OkStatus();
  }
  if (known->empty()) {
    std::printf("%s has no namespace; `polarkv put` makes one\n", options.server.c_str());
    return absl::OkStatus();
  }
  size_t name_width = 24;
  for (const NamespaceInfo& info : *known) name_width = std::max(name_width, info.descriptor.name.size());
  const int width = static_cast<int>(name_width);
  std::printf("%-*s %8s %12s  %-22s %-14s %7s  %s\n", width, "namespace", "blocks", "bytes", "codec", "geometry",
              "tokens", "model");
  for (const NamespaceInfo& info : *known) PrintLine(info, width);
  return absl::OkStatus();
}

}  // namespace

void AddNamespacesCommand(CommandLine& line) {
  auto options = std::make_shared<ServerOptions>();
  Subcommand command =
      line.Add("namespaces", "List a server's namespaces", [options] { return RunNamespaces(*options); });
  AddServerOptions(&command, options.get());
  command.Explain(kFooter);
}

}  // namespace polarkv::cli
