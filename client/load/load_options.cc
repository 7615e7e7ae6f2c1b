#include "client/load/load_options.h"

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "client/load/model_preset.h"
#include "client/load/report.h"

namespace polarkv::load {
namespace {

constexpr const char* kDescription =
    "Plays requests against a polarkv server as inference workers would: match the longest stored prefix, fetch it, "
    "check\n"
    "every byte, store what was missing. Then reports hits, bytes, latencies and anything that was wrong.";

constexpr const char* kFooter =
    "Exit codes: 0 all right; 1 wrong bytes or results (verification failures); 2 wrong flags, workload or report "
    "file;\n"
    "3 no server at the start, or it refused the namespace; 4 below --require-hit-ratio.\n"
    "A server that fails later is counted as misses and errors, it does not end the run. Ctrl-C ends it with a report.";

std::string PresetNames() {
  std::string names;
  for (const ModelPreset& preset : ModelPresets()) names += (names.empty() ? "" : ", ") + std::string(preset.name);
  return names;
}

// Takes one of the names, which --help and refusals list.
template <class Value>
CLI::Option* AddChoice(CLI::App& app, const char* name, Value& value,
                       const std::vector<std::pair<std::string, Value>>& choices, const char* help) {
  std::vector<std::string> names;
  for (const auto& choice : choices) names.push_back(choice.first);
  const auto choose = [&value, choices](const std::string& text) {
    for (const auto& choice : choices) {
      if (choice.first == text) value = choice.second;
    }
  };
  return app.add_option_function<std::string>(name, choose, help)->check(CLI::IsMember(names));
}

void AddWorkloadFlags(CLI::App& app, LoadOptions& options) {
  const std::string group = "Workload";
  app.add_option("--workload", options.workload,
                 "chat, agent, document, or a trace file in Mooncake's or Qwen-Bailian's JSONL format")
      ->required()
      ->group(group);
  AddChoice<TraceBlocks>(
      app, "--trace-blocks", options.trace_blocks, {{"scaled", TraceBlocks::kScaled}, {"exact", TraceBlocks::kExact}},
      "scaled: one full trace block = one store block, whatever their sizes (default); exact: the trace's own "
      "token counts, cut into store blocks")
      ->group(group);
  app.add_option("--requests", options.requests, "Take the first N requests of the workload")->group(group);
  app.add_option("--duration", options.duration_s, "Start no request after this many seconds")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  app.add_option("--seed", options.seed, "Seed of the generators")->capture_default_str()->group(group);
}

void AddSessionFlags(CLI::App& app, SessionFlags& session) {
  const std::string group = "Generated sessions (defaults depend on the workload)";
  app.add_option("--sessions", session.sessions, "Number of sessions (default: as many as --duration needs, or 100)")
      ->group(group);
  app.add_option("--session-rate", session.session_rate, "New sessions per second, Poisson")->group(group);
  app.add_option("--turns", session.turns, "Mean requests per session")->group(group);
  app.add_option("--shared-prompts", session.shared_prompts, "Distinct system prompts")->group(group);
  app.add_option("--shared-tokens", session.shared_tokens, "Tokens of each")->group(group);
  app.add_option("--document-tokens", session.document_tokens, "Mean tokens of a session's document")->group(group);
  app.add_option("--input-tokens", session.input_tokens, "Mean new tokens of a request")->group(group);
  app.add_option("--output-tokens", session.output_tokens, "Mean tokens of an answer")->group(group);
  app.add_option("--think-time", session.think_time_s, "Mean seconds between an answer and the next request")
      ->group(group);
  app.add_option("--output-token-time", session.output_token_s, "Seconds that the model takes per answer token")
      ->group(group);
}

void AddGeometryFlags(CLI::App& app, LoadOptions& options) {
  const std::string group = "Geometry";
  GeometryFlags& geometry = options.geometry;
  app.add_option("--model", geometry.model, "Preset: " + PresetNames())->capture_default_str()->group(group);
  app.add_option("--scale-layers", geometry.scale_layers, "Keep this fraction of the preset's layers")->group(group);
  app.add_option("--scale-heads", geometry.scale_heads, "Keep this fraction of the preset's heads")->group(group);
  app.add_option("--layers", geometry.layers, "Layers stored, in place of the preset's")->group(group);
  app.add_option("--kv-heads", geometry.kv_heads, "KV heads stored; query heads follow in proportion")->group(group);
  app.add_option("--q-heads", geometry.q_heads, "Query heads of --attend, a multiple of the KV heads")->group(group);
  app.add_option("--head-dim", geometry.head_dim, "64, 80, 96, 128, 192 or 256")->group(group);
  app.add_option("--block-tokens", geometry.block_tokens, "Tokens of a block, a multiple of 64")->group(group);
  app.add_option("--codec", geometry.codec,
                 "default, compact, small, tiny, archive, or a codec: turbo4, k=polar44,v=turbo4; see polarkv codecs")
      ->capture_default_str()
      ->group(group);
  app.add_option("--namespace", options.namespace_name, "Name of the namespace (default: made from model and geometry)")
      ->group(group);
  app.add_option("--salt", options.salt,
                 "Salt of the keys: another salt shares nothing with earlier runs; \"random\" never does")
      ->group(group);
}

void AddScheduleFlags(CLI::App& app, LoadOptions& options) {
  const std::string group = "Schedule";
  app.add_option("--threads", options.threads, "Worker threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->group(group);
  app.add_option("--time-scale", options.time_scale, "10: arrivals ten times as fast as in the workload")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--max-rate", options.max_rate, "Requests per second that the schedule does not exceed")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  app.add_flag("--as-fast-as-possible", options.as_fast_as_possible,
               "Ignore arrival times: a free worker takes the next request")
      ->group(group);
  app.add_flag(
         "--ordered", options.ordered,
         "Start a request only when those whose blocks it can reuse are finished: the cache can then reach the ideal "
         "hit ratio. Always so with one thread")
      ->group(group);
}

void AddServerFlags(CLI::App& app, LoadOptions& options) {
  const std::string group = "Server";
  app.add_option("--server", options.server, "HOST:PORT, or any gRPC target")->group(group);
  app.add_option("--deadline-ms", options.deadline_ms, "Of each call")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--lease-ms", options.lease_ms, "Lease on matched blocks; 0: none")
      ->capture_default_str()
      ->group(group);
  app.add_option("--connect-timeout-ms", options.connect_timeout_ms, "How long to wait for the server at the start")
      ->capture_default_str()
      ->group(group);
  app.add_option("--channels", options.channels, "Connections to the server")
      ->check(CLI::Range(1, 16))
      ->capture_default_str()
      ->group(group);
  app.add_option("--window-mb", options.window_mb, "Blocks that a worker holds at a time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
}

void AddCheckFlags(CLI::App& app, LoadOptions& options) {
  const std::string group = "Checks";
  app.add_option("--digests", options.digests,
                 "Digests of encoded blocks to remember, 64 bytes each; others are computed again")
      ->capture_default_str()
      ->group(group);
  app.add_option("--recompute-one-in", options.recompute_one_in,
                 "Encode every Nth fetched block anew although its digest is remembered; 0: none")
      ->capture_default_str()
      ->group(group);
  app.add_flag("--attend", options.attend, "Run attention of one query on each fetched prefix, as fetched")
      ->group(group);
  AddChoice<DeviceChoice>(
      app, "--device", options.device,
      {{"auto", DeviceChoice::kAuto}, {"cpu", DeviceChoice::kCpu}, {"cuda", DeviceChoice::kCuda}},
      "Where blocks are encoded and --attend attends. auto: on the GPU where there is one that can, else on "
      "the CPU (default); cpu; cuda")
      ->group(group);
  app.add_option("--check-attention-one-in", options.check_attention_one_in,
                 "Compare every Nth of a worker's prefixes with attention in double precision; 0: none")
      ->capture_default_str()
      ->group(group);
  app.add_option("--require-hit-ratio", options.required_hit_ratio,
                 "Exit code 4 when fewer prompt tokens were served (0..1)")
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
}

void AddEstimateFlags(CLI::App& app, LoadOptions& options) {
  const std::string group = "Time to first token (an estimate; the report shows all of this)";
  app.add_option("--accelerator-tflops", options.accelerator_tflops, "Sustained Tflop/s of prefill")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--flops-per-token", options.flops_per_token, "Of the model (default: twice the preset's parameters)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--transfer-gb-per-s", options.transfer_gb_per_s, "For the bytes that scaled geometry leaves out")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
}

}  // namespace

bool ParseLoadOptions(int argc, const char* const* argv, LoadOptions& options, int& exit_code) {
  CLI::App app(kDescription, "polarkv-load");
  app.footer(kFooter);
  app.set_config("--config", "", "File with flags, one \"name = value\" a line");
  app.allow_config_extras(CLI::config_extras_mode::error);
  AddServerFlags(app, options);
  AddWorkloadFlags(app, options);
  AddSessionFlags(app, options.session);
  AddGeometryFlags(app, options);
  AddScheduleFlags(app, options);
  AddCheckFlags(app, options);
  AddEstimateFlags(app, options);
  app.add_option("--report", options.report, "Write the report as JSON to this file");
  app.add_flag("--dry-run", options.dry_run,
               "Read or generate the workload and print its ideal hit ratio; no server needed");
  app.add_flag("--quiet", options.quiet, "No progress and no report on the terminal");
  try {
    app.parse(argc, argv);
    if (options.server.empty() && !options.dry_run) throw CLI::RequiredError("--server");
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? kExitOk : kExitUsage;
    return false;
  }
  return true;
}

}  // namespace polarkv::load
