#include "client/load/load_setup.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "client/load/session_generator.h"
#include "codec/block_layout.h"

namespace polarkv::load {
namespace {

template <typename T>
void Override(const std::optional<T>& flag, T& value) {
  if (flag.has_value()) value = *flag;
}

// As many sessions as start within the run, or 100.
uint64_t DefaultSessions(const LoadOptions& options, double session_rate) {
  if (options.duration_s <= 0 || options.as_fast_as_possible) return 100;
  return static_cast<uint64_t>(std::clamp(options.duration_s * options.time_scale * session_rate * 1.5 + 10, 1.0, 1e6));
}

absl::StatusOr<Workload> GenerateWorkload(const LoadOptions& options) {
  absl::StatusOr<SessionShape> shape = NamedSessionShape(options.workload);
  if (!shape.ok()) return shape.status();
  const SessionFlags& flags = options.session;
  shape->seed = options.seed;
  Override(flags.session_rate, shape->session_rate);
  Override(flags.shared_prompts, shape->shared_prompts);
  Override(flags.shared_tokens, shape->shared_tokens);
  Override(flags.document_tokens, shape->document_tokens);
  Override(flags.input_tokens, shape->input_tokens);
  Override(flags.output_tokens, shape->output_tokens);
  Override(flags.turns, shape->turns);
  Override(flags.think_time_s, shape->think_time_s);
  Override(flags.output_token_s, shape->output_token_s);
  shape->sessions = flags.sessions.value_or(DefaultSessions(options, shape->session_rate));
  absl::StatusOr<Workload> workload = GenerateSessions(options.workload, *shape);
  if (workload.ok() && options.requests > 0 && options.requests < workload->requests.size()) {
    workload->requests.resize(options.requests);
  }
  return workload;
}

bool IsGenerator(const std::string& workload) {
  return workload == "chat" || workload == "agent" || workload == "document";
}

std::string MakeSalt(const LoadOptions& options) {
  if (options.salt != "random") return options.salt;
  std::random_device device;
  return absl::StrCat(absl::Hex(device(), absl::kZeroPad8), absl::Hex(device(), absl::kZeroPad8));
}

ComputeAssumptions MakeCompute(const LoadOptions& options, const ModelPreset& preset, const LoadSetup& setup) {
  ComputeAssumptions compute;
  compute.model = PresetCompute(preset);
  Override(options.flops_per_token, compute.model.flops_per_token);
  compute.sustained_flops = options.accelerator_tflops * 1e12;
  compute.transfer_bytes_per_s = options.transfer_gb_per_s * 1e9;
  const Geometry& geometry = setup.run.geometry;
  const double bytes_per_store_token = static_cast<double>(setup.run.block_bytes) / geometry.block_tokens;
  compute.full_bytes_per_token = compute.model.fp16_cache_bytes_per_token * bytes_per_store_token /
                                 static_cast<double>(Fp16BytesPerToken(geometry));
  compute.stored_bytes_per_token = bytes_per_store_token / setup.workload.tokens_per_store_token;
  return compute;
}

absl::Status MakeSchedule(const LoadOptions& options, LoadSetup& setup) {
  setup.run.arrivals = {options.time_scale, options.max_rate, options.as_fast_as_possible};
  absl::StatusOr<std::vector<std::chrono::nanoseconds>> starts = IntendedStarts(setup.workload, setup.run.arrivals);
  if (!starts.ok()) return starts.status();
  setup.starts = *std::move(starts);
  ReplayOptions& replay = setup.run.replay;
  replay.threads = options.threads;
  replay.ordered = options.ordered;
  replay.open_loop = !options.as_fast_as_possible;
  replay.seed = options.seed;
  replay.duration = std::chrono::round<std::chrono::nanoseconds>(std::chrono::duration<double>(options.duration_s));
  if (replay.duration.count() == 0 || options.as_fast_as_possible) return absl::OkStatus();
  // What is due after the end is no part of the run, nor of its ideal hit ratio.
  const size_t due =
      static_cast<size_t>(std::ranges::upper_bound(setup.starts, replay.duration) - setup.starts.begin());
  setup.starts.resize(due);
  setup.workload.requests.resize(due);
  return absl::OkStatus();
}

absl::Status MakeRunner(const LoadOptions& options, LoadSetup& setup) {
  RunnerOptions& runner = setup.runner;
  const absl::StatusOr<uint64_t> room = FetchBytes(setup.descriptor);
  if (!room.ok()) return room.status();
  runner.block_bytes = *room;
  runner.window_bytes = options.window_mb << 20;
  runner.tokens_per_store_token = setup.workload.tokens_per_store_token;
  runner.attend = options.attend;
  runner.device = options.device;
  runner.q_heads = setup.run.geometry.q_heads;
  runner.check_attention_one_in = options.check_attention_one_in;
  runner.compute = setup.run.compute;
  if (runner.q_heads == 0 || runner.q_heads % setup.run.geometry.kv_heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(runner.q_heads, " query heads are not a multiple of ", setup.run.geometry.kv_heads, " KV heads"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Geometry> MakeGeometry(const GeometryFlags& flags, ModelPreset& preset) {
  const absl::StatusOr<ModelPreset> found = FindModelPreset(flags.model);
  if (!found.ok()) return found.status();
  preset = *found;
  absl::StatusOr<Geometry> geometry = ScaledGeometry(preset, flags.scale_layers, flags.scale_heads);
  if (!geometry.ok()) return geometry;
  const absl::StatusOr<CodecPair> codec = ParseCodecPair(flags.codec);
  if (!codec.ok()) return codec.status();
  geometry->codec = *codec;
  Override(flags.layers, geometry->layers);
  if (flags.kv_heads.has_value()) geometry->q_heads = *flags.kv_heads * (preset.q_heads / preset.kv_heads);
  Override(flags.kv_heads, geometry->kv_heads);
  Override(flags.q_heads, geometry->q_heads);
  Override(flags.head_dim, geometry->head_dim);
  Override(flags.block_tokens, geometry->block_tokens);
  return geometry;
}

absl::StatusOr<Workload> MakeWorkload(const LoadOptions& options, uint32_t block_tokens) {
  if (IsGenerator(options.workload)) return GenerateWorkload(options);
  return ReadTrace(options.workload, {options.trace_blocks, block_tokens, options.requests});
}

absl::StatusOr<std::unique_ptr<LoadSetup>> MakeSetup(const LoadOptions& options) {
  auto setup = std::make_unique<LoadSetup>();
  ModelPreset preset{};
  absl::StatusOr<Geometry> geometry = MakeGeometry(options.geometry, preset);
  if (!geometry.ok()) return geometry.status();
  absl::StatusOr<NamespaceDescriptor> descriptor = LoadNamespace(preset.name, *geometry, options.namespace_name);
  if (!descriptor.ok()) return descriptor.status();
  setup->descriptor = *std::move(descriptor);
  const absl::StatusOr<BlockLayout> layout = BlockLayout::Make(NamespaceBlockSpec(setup->descriptor, BlockKey{}, 0));
  if (!layout.ok()) return layout.status();
  absl::StatusOr<Workload> workload = MakeWorkload(options, geometry->block_tokens);
  if (!workload.ok()) return workload.status();
  setup->workload = *std::move(workload);

  RunDescription& run = setup->run;
  run.server = options.dry_run ? "" : options.server;
  run.model = options.geometry.model;
  run.geometry = *geometry;
  run.block_bytes = layout->total_bytes();
  run.namespace_name = setup->descriptor.name;
  run.salt = MakeSalt(options);
  run.attend = options.attend;
  run.required_hit_ratio = options.required_hit_ratio;
  if (absl::Status status = MakeSchedule(options, *setup); !status.ok()) return status;
  run.compute = MakeCompute(options, preset, *setup);
  if (absl::Status status = MakeRunner(options, *setup); !status.ok()) return status;

  setup->keys = std::make_unique<PromptKeys>(NamespaceFingerprint(setup->descriptor), run.salt, geometry->block_tokens);
  setup->plan = std::make_unique<ReusePlan>(setup->workload, *setup->keys);
  run.workload = &setup->workload;
  run.plan = setup->plan.get();
  return setup;
}

}  // namespace polarkv::load
