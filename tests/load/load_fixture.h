// A tiny namespace and everything that plays requests in it.
#ifndef POLARKV_TESTS_LOAD_LOAD_FIXTURE_H_
#define POLARKV_TESTS_LOAD_LOAD_FIXTURE_H_

#include <memory>
#include <vector>

#include "client/kv_client.h"
#include "client/load/model_preset.h"
#include "client/load/request_runner.h"
#include "codec/block_layout.h"
#include "tests/load/fake_cache.h"

namespace polarkv::load {

inline NamespaceDescriptor TinyNamespace(std::string_view codec = "turbo4") {
  Geometry geometry = *ScaledGeometry(*FindModelPreset("tiny"), 1, 1);
  geometry.codec = *ParseCodecPair(codec);
  return *LoadNamespace("tiny", geometry, "");
}

inline uint64_t BlockBytes(const NamespaceDescriptor& descriptor) {
  return BlockLayout::Make(NamespaceBlockSpec(descriptor, BlockKey{}, 0))->total_bytes();
}

// Requests of the given prompts, one second apart.
inline Workload Prompts(std::vector<std::vector<Segment>> prompts) {
  Workload workload;
  for (std::vector<Segment>& prompt : prompts) {
    Request request;
    request.arrival_s = static_cast<double>(workload.requests.size());
    request.prompt = std::move(prompt);
    request.prompt_tokens = StoreTokens(request);
    workload.requests.push_back(std::move(request));
  }
  return workload;
}

struct LoadFixture {
  NamespaceDescriptor descriptor = TinyNamespace();
  PromptKeys keys{NamespaceFingerprint(descriptor), "", descriptor.block_tokens};
  FakeCache cache;
  BlockVerifier verifier{BlockContent(descriptor), 1000, 0};
  RunnerContext context;
  RunnerOptions options;
  std::vector<absl::Status> failures;

  LoadFixture() {
    context.keys = &keys;
    context.cache = &cache;
    context.verifier = &verifier;
    context.finished = [](uint32_t) { return true; };
    context.on_failure = [this](const absl::Status& status) { failures.push_back(status); };
    options.block_bytes = FetchBytes(descriptor).value();
    options.q_heads = 4;
    options.check_attention_one_in = 1;
    options.compute.model = PresetCompute(*FindModelPreset("tiny"));
  }

  // Plays all requests in order on one runner.
  Tally Play(const Workload& workload) {
    const ReusePlan plan(workload, keys);
    RequestRunner runner(context, options);
    for (size_t i = 0; i < workload.requests.size(); ++i) {
      runner.Run(workload.requests[i], plan[i], i, std::chrono::nanoseconds{0});
    }
    return runner.snapshot();
  }
};

}  // namespace polarkv::load

#endif  // POLARKV_TESTS_LOAD_LOAD_FIXTURE_H_
