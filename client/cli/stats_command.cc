#include <cstdio>
#include <memory>
#include <string>

#include "client/cli/cli_status.h"
#include "client/cli/commands.h"
#include "client/cli/server_connection.h"
#include "client/cli/text_format.h"
#include "nlohmann/json.hpp"

namespace polarkv::cli {
namespace {

constexpr char kFooter[] =
    R"(Counters since the server's start, and gauges. *_bytes and *_budget are bytes; lost_blocks were known before the last start
and gone after it.

Examples:
  polarkv stats --server localhost:7070
  polarkv stats --server localhost:7070 --json)";

bool IsBytes(const std::string& name) { return name.ends_with("_bytes") || name.ends_with("_budget"); }

absl::Status RunStats(const ServerOptions& options) {
  const absl::StatusOr<std::unique_ptr<KvClient>> client = Connect(options);
  if (!client.ok()) return client.status();
  const absl::StatusOr<ServerStats> stats = (*client)->Stats();
  if (!stats.ok()) return ExplainServerError(stats.status(), options);
  if (options.json) {
    nlohmann::ordered_json json = {{"version", stats->version}};
    for (const auto& [name, value] : stats->values) json[name] = value;
    PrintJson(json);
    return absl::OkStatus();
  }
  std::printf("%-20s %s\n", "version", stats->version.c_str());
  for (const auto& [name, value] : stats->values) {
    std::printf("%-20s %llu", name.c_str(), static_cast<unsigned long long>(value));
    std::printf(IsBytes(name) && value >= 1024 ? " (%s)\n" : "\n", HumanBytes(value).c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddStatsCommand(CommandLine& line) {
  auto options = std::make_shared<ServerOptions>();
  Subcommand command = line.Add("stats", "Show a server's counters", [options] { return RunStats(*options); });
  AddServerOptions(&command, options.get());
  command.Explain(kFooter);
}

}  // namespace polarkv::cli
