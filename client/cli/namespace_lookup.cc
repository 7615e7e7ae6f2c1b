#include "client/cli/namespace_lookup.h"

#include <utility>

#include "client/cli/cli_status.h"

namespace polarkv::cli {

void AddLookupOptions(Subcommand* command, LookupOptions* options) {
  AddServerOptions(command, &options->server);
  command->RequiredText("--namespace", &options->ns, "NAME", "Name of the namespace");
  AddKeyOptions(command, &options->keys);
  AddShardOption(command, &options->keys);
}

absl::StatusOr<Lookup> OpenLookup(const LookupOptions& options, WantKeys want_keys) {
  if (want_keys == WantKeys::kYes) {
    if (absl::Status s = CheckKeyOptions(options.keys); !s.ok()) return s;
  }
  absl::StatusOr<std::unique_ptr<KvClient>> client = Connect(options.server);
  if (!client.ok()) return client.status();
  absl::StatusOr<NamespaceInfo> info = FindNamespace(**client, options.ns, options.server);
  if (!info.ok()) return info.status();
  Lookup lookup{*std::move(client), {std::move(info->descriptor), info->fingerprint}, {}};
  if (want_keys == WantKeys::kNo) return lookup;
  absl::StatusOr<std::vector<BlockKey>> keys = SelectKeys(options.keys, lookup.ns.descriptor, lookup.ns.fingerprint);
  if (!keys.ok()) return keys.status();
  lookup.keys = *std::move(keys);
  return lookup;
}

}  // namespace polarkv::cli
