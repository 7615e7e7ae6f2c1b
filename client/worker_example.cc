// polarkv-worker-example HOST:PORT: what an inference worker does for one prompt, with numbers in place of a model.
#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include "client/kv_client.h"
#include "codec/attention_state.h"
#include "kernels/kv_kernels.h"

namespace polarkv {
namespace {

constexpr uint32_t kQueryHeads = 8;

NamespaceDescriptor ExampleModel() {
  NamespaceDescriptor model;
  model.name = "example/tiny-model";
  model.model = "tiny-model";
  model.layers = 4;
  model.kv_heads = 2;
  model.head_dim = 64;
  model.rope = {RopePairing::kHalf, 10000.0f, 64};
  model.source_dtype = Dtype::kF32;
  model.block_tokens = 64;
  model.codec = ParseCodecPair("turbo4").value();
  return model;
}

// Stands for what the model computes.
std::vector<float> ModelOutput(size_t count, float phase) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = std::sin(0.7f * static_cast<float>(i) + phase);
  return values;
}

absl::Status ServePrompt(KvClient& client, const std::vector<int32_t>& tokens) {
  // Once per worker, not per prompt.
  absl::StatusOr<NamespaceHandle> ns = client.OpenNamespace(ExampleModel());
  if (!ns.ok()) return ns.status();
  const NamespaceDescriptor& model = ns->descriptor;

  // 1. How much of the prompt is stored? A short lease keeps it there until it is fetched.
  const std::vector<BlockKey> keys = PrefixKeys(ns->fingerprint, /*salt=*/"", tokens, model.block_tokens);
  absl::StatusOr<PrefixMatch> match = client.Match(*ns, keys, /*lease=*/std::chrono::seconds(10));
  if (!match.ok()) return match.status();  // a worker would go on as if nothing matched
  std::cout << "matched " << match->matched_blocks << " of " << keys.size() << " blocks (" << MatchStopName(match->stop)
            << ")\n";

  // 2. Fetch it. Anything but kOk is a miss: the usable prefix ends at the first one.
  std::vector<AlignedBuffer> buffers;
  std::vector<FetchSlot> slots;
  for (uint32_t i = 0; i < match->matched_blocks; ++i) {
    buffers.emplace_back(match->block_bytes[i]);
    slots.push_back({.buffer = buffers.back().span()});
  }
  const std::span<const BlockKey> matched(keys.data(), slots.size());
  absl::Status status = client.Fetch(*ns, matched, BlockSelection{}, slots, match->lease_id);
  if (!status.ok()) std::cout << "fetch: " << status.message() << "\n";
  std::vector<BlockView> blocks;
  for (const FetchSlot& slot : slots) {
    if (slot.outcome != FetchOutcome::kOk) break;
    blocks.push_back(slot.view[0]);
  }

  // 3. Attend on the blocks as fetched, layer by layer. The worker merges o and lse with its own attention over the
  // tokens
  //    that it computed itself: MergeAttention in codec/attention_state.h.
  const std::vector<float> q = ModelOutput(kQueryHeads * model.head_dim, 0.3f);
  std::vector<float> o(q.size()), lse(kQueryHeads);
  for (uint32_t layer = 0; layer < model.layers; ++layer) {
    status =
        Attend(blocks, layer, kQueryHeads, /*queries=*/1, q, 1 / std::sqrt(static_cast<float>(model.head_dim)), o, lse);
    if (!status.ok()) return status;
  }
  std::cout << "attended on " << blocks.size() << " blocks\n";

  // 4. Prefill the rest, and store it for the next worker.
  const size_t first_block = blocks.size();
  const size_t new_tokens = (keys.size() - first_block) * model.block_tokens;
  const std::array<int64_t, 4> shape = {model.layers, model.kv_heads, static_cast<int64_t>(new_tokens), model.head_dim};
  const size_t values = size_t{model.layers} * model.kv_heads * new_tokens * model.head_dim;
  const std::vector<float> k = ModelOutput(values, 0.1f), v = ModelOutput(values, 0.2f);
  std::vector<StoreOutcome> outcomes(keys.size() - first_block);
  status = client.StoreTensors(*ns, std::span(keys).subspan(first_block),
                               first_block == 0 ? BlockKey{} : keys[first_block - 1], first_block,
                               TensorView::Contiguous(k.data(), Dtype::kF32, shape),
                               TensorView::Contiguous(v.data(), Dtype::kF32, shape), outcomes);
  if (!status.ok()) return status;
  size_t stored = 0;
  for (const StoreOutcome outcome : outcomes) stored += outcome == StoreOutcome::kStored ? 1 : 0;
  std::cout << "stored " << stored << " blocks\n";
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: polarkv-worker-example HOST:PORT\n";
    return 2;
  }
  ClientOptions options;
  options.target = argv[1];
  options.deadline = std::chrono::seconds(5);
  absl::StatusOr<std::unique_ptr<KvClient>> client = KvClient::Create(options);
  std::vector<int32_t> prompt(1000);  // 15 full blocks of 64 tokens; the rest is too short to share
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(i * 31 % 50000);
  const absl::Status status = client.ok() ? ServePrompt(**client, prompt) : client.status();
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace polarkv

int main(int argc, char** argv) { return polarkv::Main(argc, argv); }
