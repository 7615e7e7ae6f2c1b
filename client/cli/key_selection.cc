#include "client/cli/key_selection.h"

#include "client/cli/cli_status.h"
#include "client/cli/text_format.h"
#include "client/cli/token_file.h"

namespace polarkv::cli {
namespace {

absl::StatusOr<std::vector<BlockKey>> ParseKeys(const std::vector<std::string>& texts) {
  std::vector<BlockKey> keys;
  for (const std::string& text : texts) {
    const absl::StatusOr<BlockKey> key = BlockKey::FromHex(text);
    if (!key.ok()) return UsageError("--keys: '" + text.substr(0, 80) + "': " + MessageOf(key.status()));
    keys.push_back(*key);
  }
  return keys;
}

}  // namespace

void AddKeyOptions(Subcommand* command, KeyOptions* options) {
  command->Text("--tokens", &options->tokens, "FILE", "File of the token ids, from the first of the sequence on");
  command->CommaList("--keys", &options->keys, "HEX",
                     "Block keys instead of tokens, in chain order, with commas between");
  command->Text("--salt", &options->salt, "TEXT",
                "Text that keeps chains of equal tokens apart, such as a tenant's secret");
}

void AddShardOption(Subcommand* command, KeyOptions* options) {
  command->Number("--shard", &options->shard, "Shard, for a namespace whose blocks are split by KV heads");
}

std::string KeyHelp() {
  return R"(
Tokens file: a JSON array such as [1, 2, 3], or little-endian int32 without a header. The key of a block follows from the
namespace, the salt and all tokens up to the block's end; tokens after the last full block count for nothing. With --keys
the engine's own 32-byte keys are used as they are, as 64 hexadecimal digits each.
)";
}

absl::Status CheckKeyOptions(const KeyOptions& options) {
  if (options.tokens.empty() == options.keys.empty()) {
    return UsageError(options.keys.empty() ? "say which blocks: --tokens FILE or --keys HEX,..."
                                           : "give --tokens or --keys, not both");
  }
  if (!options.keys.empty() && !options.salt.empty()) return UsageError("--salt has no meaning with --keys");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<BlockKey>> SelectKeys(const KeyOptions& options, const NamespaceDescriptor& descriptor,
                                                 const Fingerprint& fingerprint) {
  if (!options.keys.empty()) return ParseKeys(options.keys);
  if (options.shard >= descriptor.shards) {
    return UsageError("--shard is " + std::to_string(options.shard) + ", but the namespace has " +
                      Plural(descriptor.shards, "shard"));
  }
  const absl::StatusOr<std::vector<int32_t>> tokens = ReadTokenFile(options.tokens);
  if (!tokens.ok()) return tokens.status();
  std::vector<BlockKey> keys = PrefixKeys(fingerprint, options.salt, *tokens, descriptor.block_tokens);
  if (keys.empty()) {
    return MissError(options.tokens + ": " + Plural(tokens->size(), "token") + " do not fill one block of " +
                     std::to_string(descriptor.block_tokens) + "; only full blocks have keys");
  }
  for (BlockKey& key : keys) key = ShardKey(key, options.shard, descriptor.shards);
  return keys;
}

}  // namespace polarkv::cli
