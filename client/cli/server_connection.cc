#include "client/cli/server_connection.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/cli_status.h"

namespace polarkv::cli {
namespace {

// The resolver takes port 70000 for 4464. Targets with a scheme ("dns:///...", "unix:...") are left to it.
absl::Status CheckPort(const std::string& target) {
  constexpr uint64_t kLargestPort = 65535;
  const size_t colon = target.rfind(':');
  if (target.find('/') != std::string::npos || colon == std::string::npos) return absl::OkStatus();
  uint64_t port = 0;
  if (!absl::SimpleAtoi(absl::string_view(target).substr(colon + 1), &port) || port <= kLargestPort) {
    return absl::OkStatus();
  }
  return UsageError("--server: port " + std::to_string(port) + " is over " + std::to_string(kLargestPort));
}

}  // namespace

void AddServerOptions(Subcommand* command, ServerOptions* options) {
  command->RequiredText("--server", &options->server, "HOST:PORT", "Server, as HOST:PORT or in gRPC's naming syntax");
  command->Text("--deadline", &options->deadline, "TIME", "Longest wait for each call: 500ms, 5s, 2m");
  command->Flag("--json", &options->json, "Print JSON");
}

absl::StatusOr<std::chrono::milliseconds> ParseDuration(const std::string& option, const std::string& text) {
  absl::Duration duration;
  constexpr int kLongestHours = 24;
  if (!absl::ParseDuration(text, &duration) || duration < absl::Milliseconds(1) ||
      duration > absl::Hours(kLongestHours)) {
    return UsageError(option + " is '" + text +
                      "'; give a time with its unit, from 1ms to 24h, such as 500ms, 5s or 2m");
  }
  return absl::ToChronoMilliseconds(duration);
}

absl::StatusOr<std::unique_ptr<KvClient>> Connect(const ServerOptions& options) {
  const absl::StatusOr<std::chrono::milliseconds> deadline = ParseDuration("--deadline", options.deadline);
  if (!deadline.ok()) return deadline.status();
  if (absl::Status s = CheckPort(options.server); !s.ok()) return s;
  ClientOptions client;
  client.target = options.server;
  client.deadline = *deadline;
  absl::StatusOr<std::unique_ptr<KvClient>> made = KvClient::Create(client);
  if (!made.ok()) return UsageError("--server: " + MessageOf(made.status()));
  return made;
}

absl::Status ExplainServerError(const absl::Status& status, const ServerOptions& options) {
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
  return absl::Status(status.code(), MessageOf(status) + "\n  no answer within " + options.deadline +
                                         "; is polarkv-server running there? For a slow link give a longer --deadline");
}

absl::StatusOr<NamespaceInfo> FindNamespace(KvClient& client, const std::string& name, const ServerOptions& options) {
  absl::StatusOr<std::vector<NamespaceInfo>> known = client.ListNamespaces();
  if (!known.ok()) return ExplainServerError(known.status(), options);
  std::string names;
  for (NamespaceInfo& info : *known) {
    if (info.descriptor.name == name) {
      if (info.problem.empty()) return std::move(info);
      return absl::FailedPreconditionError("namespace '" + name + "': " + info.problem);
    }
    if (names.size() < 200) names += (names.empty() ? "" : ", ") + info.descriptor.name;
  }
  return MissError("no namespace '" + name + "' on " + options.server + "; " +
                   (names.empty() ? "it has none; `polarkv put` makes one" : "it has " + names));
}

}  // namespace polarkv::cli
