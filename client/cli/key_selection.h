// Which blocks of a namespace the command line means.
#ifndef POLARKV_CLIENT_CLI_KEY_SELECTION_H_
#define POLARKV_CLIENT_CLI_KEY_SELECTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "codec/block_key.h"
#include "codec/namespace_descriptor.h"

namespace polarkv::cli {

struct KeyOptions {
  std::string tokens;             // path
  std::vector<std::string> keys;  // 64 hexadecimal digits each
  std::string salt;
  uint32_t shard = 0;
};

// --tokens, --keys, --salt. (--shard is for those who look blocks up; who stores them has it in the header.)
void AddKeyOptions(Subcommand* command, KeyOptions* options);
void AddShardOption(Subcommand* command, KeyOptions* options);
// One paragraph for --help.
std::string KeyHelp();

// A usage error unless exactly one of --tokens and --keys is given.
absl::Status CheckKeyOptions(const KeyOptions& options);

// Keys of all full blocks, first block first; at least one. From tokens: a miss when they do not fill one block.
absl::StatusOr<std::vector<BlockKey>> SelectKeys(const KeyOptions& options, const NamespaceDescriptor& descriptor,
                                                 const Fingerprint& fingerprint);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_KEY_SELECTION_H_
