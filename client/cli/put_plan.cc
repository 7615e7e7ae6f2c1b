#include "client/cli/put_plan.h"

#include <utility>

#include "client/cli/cli_status.h"
#include "client/cli/text_format.h"

namespace polarkv::cli {
namespace {

// Number of blocks to store: all but a short last one. Checks that they follow each other.
absl::StatusOr<size_t> CountFullBlocks(const PkvFile& file, const NamespaceDescriptor& descriptor) {
  const std::vector<BlockView>& blocks = file.blocks();
  uint64_t position = blocks.front().spec().first_position;
  if (position % descriptor.block_tokens != 0) {
    return absl::InvalidArgumentError("the first block is at position " + std::to_string(position) +
                                      ", which is no multiple of its " + std::to_string(descriptor.block_tokens) +
                                      " tokens; encode from a block boundary on");
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const BlockSpec& spec = blocks[i].spec();
    const std::string block = "block " + std::to_string(i);
    if (spec.first_position != position) {
      return absl::InvalidArgumentError(block + " is at position " + std::to_string(spec.first_position) +
                                        ", expected " + std::to_string(position) + "; put stores one run of blocks");
    }
    if (spec.tokens != descriptor.block_tokens) {
      if (i + 1 == blocks.size() && spec.tokens < descriptor.block_tokens) return i;
      return absl::InvalidArgumentError(block + " has " + std::to_string(spec.tokens) + " tokens, but the first has " +
                                        std::to_string(descriptor.block_tokens) +
                                        "; blocks of a chain are equally long");
    }
    position += spec.tokens;
  }
  return blocks.size();
}

absl::Status TakeFromTokens(std::vector<BlockKey> chain, uint64_t first, size_t count, const std::string& path,
                            PutPlan* plan) {
  if (chain.size() < first + count) {
    return absl::InvalidArgumentError(path + ": the tokens fill " + Plural(chain.size(), "block") +
                                      ", but the blocks to store reach to number " + std::to_string(first + count) +
                                      "; give all tokens from the first of the sequence on");
  }
  plan->keys.assign(chain.begin() + static_cast<ptrdiff_t>(first),
                    chain.begin() + static_cast<ptrdiff_t>(first + count));
  if (first > 0) plan->parent = chain[first - 1];
  return absl::OkStatus();
}

absl::Status TakeAsGiven(std::vector<BlockKey> keys, size_t count, const std::string& parent, PutPlan* plan) {
  if (keys.size() != count) {
    return absl::InvalidArgumentError(Plural(keys.size(), "key") + " for " + Plural(count, "full block") +
                                      "; give one key for each");
  }
  plan->keys = std::move(keys);
  if (parent.empty()) return absl::OkStatus();
  const absl::StatusOr<BlockKey> key = BlockKey::FromHex(parent);
  if (!key.ok()) return UsageError("--parent: " + MessageOf(key.status()));
  plan->parent = *key;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NamespaceDescriptor> DescribeNamespace(const PkvFile& file, const NamespaceOptions& options) {
  const BlockSpec& spec = file.blocks().front().spec();
  if (spec.tokens % kTileTokens != 0) {
    return absl::InvalidArgumentError(file.path() + ": the first block has " + Plural(spec.tokens, "token") +
                                      ", so it is a short one; only full blocks are stored");
  }
  NamespaceDescriptor descriptor;
  descriptor.name = options.name;
  descriptor.tenant = options.tenant;
  descriptor.model = options.model;
  descriptor.weights_digest = options.weights_digest;
  descriptor.tokenizer_digest = options.tokenizer_digest;
  descriptor.layers = spec.layers;
  descriptor.kv_heads = spec.kv_heads * options.shards;
  descriptor.head_dim = spec.head_dim;
  descriptor.rope = spec.rope;
  descriptor.rope_scaling = options.rope_scaling;
  descriptor.source_dtype = spec.source_dtype;
  descriptor.block_tokens = spec.tokens;
  descriptor.shards = options.shards;
  descriptor.codec = spec.codec;
  descriptor.rotation_seed = spec.rotation_seed;
  descriptor.profile_digest = spec.profile_digest;
  if (absl::Status s = ValidateNamespaceDescriptor(descriptor); !s.ok()) return s;
  return descriptor;
}

absl::StatusOr<PutPlan> PlanPut(const PkvFile& file, const NamespaceDescriptor& descriptor,
                                const Fingerprint& fingerprint, KeyOptions keys, const std::string& parent) {
  const absl::StatusOr<size_t> count = CountFullBlocks(file, descriptor);
  if (!count.ok()) return Annotate(count.status(), file.path());
  const BlockSpec& first = file.blocks().front().spec();
  keys.shard = first.first_kv_head / first.kv_heads;
  if (keys.shard >= descriptor.shards) {
    return absl::InvalidArgumentError(file.path() + ": the blocks hold KV heads from number " +
                                      std::to_string(first.first_kv_head) +
                                      " on; say into how many shards the model's heads are split (--shards)");
  }
  absl::StatusOr<std::vector<BlockKey>> selected = SelectKeys(keys, descriptor, fingerprint);
  if (!selected.ok()) return selected.status();
  PutPlan plan;
  const absl::Status taken = keys.tokens.empty()
                                 ? TakeAsGiven(*std::move(selected), *count, parent, &plan)
                                 : TakeFromTokens(*std::move(selected), first.first_position / descriptor.block_tokens,
                                                  *count, keys.tokens, &plan);
  if (!taken.ok()) return taken;
  return plan;
}

}  // namespace polarkv::cli
