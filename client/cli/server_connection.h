// What all subcommands that talk to a server have in common.
#ifndef POLARKV_CLIENT_CLI_SERVER_CONNECTION_H_
#define POLARKV_CLIENT_CLI_SERVER_CONNECTION_H_

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "client/kv_client.h"

namespace polarkv::cli {

struct ServerOptions {
  std::string server;
  std::string deadline = "5s";
  bool json = false;
};

// --server, --deadline, --json.
void AddServerOptions(Subcommand* command, ServerOptions* options);

// "500ms", "5s", "2m"; a usage error names the option otherwise. Positive.
absl::StatusOr<std::chrono::milliseconds> ParseDuration(const std::string& option, const std::string& text);

// Does not wait for the server.
absl::StatusOr<std::unique_ptr<KvClient>> Connect(const ServerOptions& options);

// A failed call's status, with what to do next when the server did not answer.
absl::Status ExplainServerError(const absl::Status& status, const ServerOptions& options);

// The namespace of that name as the server knows it; a miss (exit code 3) that lists the names there are, when it does
// not.
absl::StatusOr<NamespaceInfo> FindNamespace(KvClient& client, const std::string& name, const ServerOptions& options);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_SERVER_CONNECTION_H_
