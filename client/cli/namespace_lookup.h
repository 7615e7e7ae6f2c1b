// The first steps of every subcommand that looks stored blocks up: connect, find the namespace by name, select keys.
#ifndef POLARKV_CLIENT_CLI_NAMESPACE_LOOKUP_H_
#define POLARKV_CLIENT_CLI_NAMESPACE_LOOKUP_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "client/cli/key_selection.h"
#include "client/cli/server_connection.h"
#include "client/kv_client.h"

namespace polarkv::cli {

struct LookupOptions {
  ServerOptions server;
  KeyOptions keys;
  std::string ns;
};

// --server, --deadline, --json, --namespace, --tokens, --keys, --salt, --shard.
void AddLookupOptions(Subcommand* command, LookupOptions* options);

struct Lookup {
  std::unique_ptr<KvClient> client;
  NamespaceHandle ns;
  std::vector<BlockKey> keys;  // empty when none were asked for
};

enum class WantKeys { kNo, kYes };
// A miss (exit code 3) when the server does not know the namespace, or the tokens do not fill one block.
absl::StatusOr<Lookup> OpenLookup(const LookupOptions& options, WantKeys want_keys);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_NAMESPACE_LOOKUP_H_
