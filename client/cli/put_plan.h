// What `polarkv put` is to store: descriptor, blocks and keys, decided before anything is sent.
#ifndef POLARKV_CLIENT_CLI_PUT_PLAN_H_
#define POLARKV_CLIENT_CLI_PUT_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/key_selection.h"
#include "client/cli/pkv_file.h"
#include "codec/namespace_descriptor.h"

namespace polarkv::cli {

// What a block's header cannot say about its namespace.
struct NamespaceOptions {
  std::string name, model, tenant, weights_digest, tokenizer_digest, rope_scaling;
  uint32_t shards = 1;
};

// Descriptor of the namespace that the file's first block belongs to. INVALID_ARGUMENT: it is no full block, or an
// option is out of range.
absl::StatusOr<NamespaceDescriptor> DescribeNamespace(const PkvFile& file, const NamespaceOptions& options);

struct PutPlan {
  std::vector<BlockKey> keys;  // of the file's blocks, in order; a short last block has none
  BlockKey parent;             // of the first block; zero when it begins its chain
};

// Keys of the file's blocks. With tokens, a block's place in the chain follows from its position. INVALID_ARGUMENT: the
// blocks are not one run, the tokens do not reach far enough, or the number of --keys is not that of the full blocks.
absl::StatusOr<PutPlan> PlanPut(const PkvFile& file, const NamespaceDescriptor& descriptor,
                                const Fingerprint& fingerprint, KeyOptions keys, const std::string& parent);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_PUT_PLAN_H_
