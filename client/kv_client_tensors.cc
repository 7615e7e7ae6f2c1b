// StoreTensors: from a worker's tensors to stored blocks.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/kv_client_impl.h"
#include "kernels/kv_kernels.h"

namespace polarkv {
namespace {

// Encoded blocks waiting to be sent; a few round trips' worth, not the whole prefix.
constexpr uint64_t kWindowBytes = 64 * 1024 * 1024;

size_t DtypeBytes(Dtype dtype) { return dtype == Dtype::kF32 ? 4 : 2; }

// Tokens [begin, begin + count) of a tensor.
TensorView TokenRange(const TensorView& tensor, int64_t begin, int64_t count) {
  TensorView range = tensor;
  const int64_t bytes = begin * tensor.stride[2] * static_cast<int64_t>(DtypeBytes(tensor.dtype));
  range.data = static_cast<const uint8_t*>(tensor.data) + bytes;
  range.shape[2] = count;
  return range;
}

absl::Status CheckTensor(const char* name, const TensorView& tensor, const NamespaceDescriptor& descriptor,
                         size_t blocks) {
  const std::array<int64_t, 4> wanted = {descriptor.layers, descriptor.kv_heads / descriptor.shards,
                                         static_cast<int64_t>(blocks * descriptor.block_tokens), descriptor.head_dim};
  if (tensor.shape == wanted) return absl::OkStatus();
  const auto text = [](const std::array<int64_t, 4>& shape) {
    return absl::StrCat("[", shape[0], ", ", shape[1], ", ", shape[2], ", ", shape[3], "]");
  };
  return absl::InvalidArgumentError(absl::StrCat("store tensors: ", name, " has shape ", text(tensor.shape), ", ",
                                                 blocks, " blocks need ", text(wanted)));
}

absl::Status CheckArguments(const NamespaceDescriptor& descriptor, size_t keys, const TensorView& k,
                            const TensorView& v, size_t outcomes, uint32_t shard) {
  if (absl::Status status = ValidateNamespaceDescriptor(descriptor); !status.ok()) return status;
  if (keys != outcomes) {
    return absl::InvalidArgumentError(absl::StrCat("store tensors: ", keys, " keys, ", outcomes, " outcomes"));
  }
  if (shard >= descriptor.shards) {
    return absl::InvalidArgumentError(
        absl::StrCat("store tensors: shard ", shard, " of a namespace with ", descriptor.shards));
  }
  if (absl::Status status = CheckTensor("k", k, descriptor, keys); !status.ok()) return status;
  return CheckTensor("v", v, descriptor, keys);
}

}  // namespace

absl::Status KvClient::StoreTensors(const NamespaceHandle& ns, std::span<const BlockKey> keys, const BlockKey& parent,
                                    uint64_t first_block, const TensorView& k, const TensorView& v,
                                    std::span<StoreOutcome> outcomes, uint32_t shard, Deadline deadline) {
  const CallDeadline call_deadline = impl_->DeadlineFor(deadline);
  std::fill(outcomes.begin(), outcomes.end(), StoreOutcome::kNotAcknowledged);
  const NamespaceDescriptor& descriptor = ns.descriptor;
  if (absl::Status status = CheckArguments(descriptor, keys.size(), k, v, outcomes.size(), shard); !status.ok()) {
    return status;
  }
  EncodeOptions options;
  KeyMeanProfilePtr profile = impl_->ProfileOf(ns);
  if (profile == nullptr && descriptor.profile_digest != ProfileDigest{} && !keys.empty()) {
    // Whoever opens the namespace gets it.
    const auto nothing = [](const NodeLimits&) { return absl::OkStatus(); };
    absl::Status status = impl_->InNamespace("store tensors", ns, call_deadline, nothing);
    if (!status.ok()) return status;
    profile = impl_->ProfileOf(ns);
  }
  options.profile = profile.get();
  const auto stored_key = [&](const BlockKey& key) { return ShardKey(key, shard, descriptor.shards); };

  std::vector<std::vector<uint8_t>> window;
  std::vector<StoreItem> items;
  uint64_t window_bytes = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (call_deadline.Expired()) {
      return absl::DeadlineExceededError(
          absl::StrCat("store tensors: the deadline came before block ", i, " was encoded"));
    }
    const auto begin = static_cast<int64_t>(i * descriptor.block_tokens);
    const BlockKey& chain_parent = i == 0 ? parent : keys[i - 1];
    const BlockSpec spec = NamespaceBlockSpec(descriptor, stored_key(keys[i]), first_block + i, shard);
    absl::StatusOr<std::vector<uint8_t>> block = EncodeBlock(spec, TokenRange(k, begin, descriptor.block_tokens),
                                                             TokenRange(v, begin, descriptor.block_tokens), options);
    if (!block.ok()) {
      return absl::Status(block.status().code(),
                          absl::StrCat("store tensors: block ", i, ": ", block.status().message()));
    }
    window_bytes += block->size();
    window.push_back(*std::move(block));
    items.push_back(
        {stored_key(keys[i]), chain_parent == BlockKey{} ? BlockKey{} : stored_key(chain_parent), window.back()});
    if (window_bytes < kWindowBytes && i + 1 < keys.size()) continue;

    const auto left = std::chrono::duration_cast<Deadline>(call_deadline.Remaining());
    absl::Status status =
        Store(ns, items, outcomes.subspan(i + 1 - items.size(), items.size()), left.count() == 0 ? Deadline(-1) : left);
    if (!status.ok()) return status;
    window.clear();
    items.clear();
    window_bytes = 0;
  }
  return absl::OkStatus();
}

}  // namespace polarkv
