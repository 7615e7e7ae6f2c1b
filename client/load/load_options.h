// The flags of polarkv-load.
#ifndef POLARKV_CLIENT_LOAD_LOAD_OPTIONS_H_
#define POLARKV_CLIENT_LOAD_LOAD_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "client/load/trace_reader.h"
#include "kernels/device_kernels.h"

namespace polarkv::load {

// Overrides of a generator's shape; unset: the kind's own.
struct SessionFlags {
  std::optional<uint64_t> sessions;
  std::optional<double> session_rate;
  std::optional<uint32_t> shared_prompts, shared_tokens, document_tokens, input_tokens, output_tokens;
  std::optional<double> turns, think_time_s, output_token_s;
};

// Overrides of a model's geometry; unset: the preset's own, scaled.
struct GeometryFlags {
  std::string model = "tiny";
  double scale_layers = 1, scale_heads = 1;
  std::optional<uint32_t> layers, kv_heads, q_heads, head_dim, block_tokens;
  std::string codec = "turbo4";
};

struct LoadOptions {
  std::string server;
  std::string workload;
  TraceBlocks trace_blocks = TraceBlocks::kScaled;
  uint64_t requests = 0;  // 0: all
  double duration_s = 0;  // 0: to the end of the workload
  uint64_t seed = 1;
  SessionFlags session;

  GeometryFlags geometry;
  std::string namespace_name, salt;

  uint32_t threads = 4;
  bool ordered = false, as_fast_as_possible = false;
  double time_scale = 1, max_rate = 0;

  uint32_t deadline_ms = 5000, lease_ms = 30000, connect_timeout_ms = 10000;
  int channels = 1;
  uint64_t window_mb = 64;

  uint64_t digests = 4'000'000;
  uint32_t recompute_one_in = 100;
  bool attend = false;
  DeviceChoice device = DeviceChoice::kAuto;
  uint32_t check_attention_one_in = 50;

  double accelerator_tflops = 400, transfer_gb_per_s = 5;
  std::optional<double> flops_per_token;

  std::string report;
  double required_hit_ratio = 0;
  bool dry_run = false, quiet = false;
};

// True: `options` is filled. False: the program is to end with `exit_code` (help was printed, or what is wrong was).
bool ParseLoadOptions(int argc, const char* const* argv, LoadOptions& options, int& exit_code);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_LOAD_OPTIONS_H_
