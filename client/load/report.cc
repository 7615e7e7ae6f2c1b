#include "client/load/report.h"

#include <algorithm>

namespace polarkv::load {
namespace {

using Json = nlohmann::ordered_json;

double Ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}
double Seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }
double PerSecond(uint64_t amount, double seconds) { return seconds > 0 ? static_cast<double>(amount) / seconds : 0; }
double Milliseconds(double nanoseconds) { return nanoseconds / 1e6; }

Json Percentile(const LatencyHistogram& histogram, double q) {
  const std::optional<uint64_t> value = histogram.PercentileNs(q);
  return value.has_value() ? Json(Milliseconds(static_cast<double>(*value))) : Json(nullptr);
}

// A percentile that the number of values cannot resolve is null.
Json LatencyJson(const LatencyHistogram& histogram) {
  Json json;
  json["count"] = histogram.count();
  json["mean"] = histogram.count() == 0 ? 0 : Milliseconds(histogram.sum_ns() / static_cast<double>(histogram.count()));
  json["p50"] = Percentile(histogram, 0.5);
  json["p90"] = Percentile(histogram, 0.9);
  json["p99"] = Percentile(histogram, 0.99);
  json["p99.9"] = Percentile(histogram, 0.999);
  json["max"] = Milliseconds(static_cast<double>(histogram.max_ns()));
  return json;
}

Json OperationJson(const OperationTally& operation) {
  Json json;
  json["calls"] = operation.calls;
  json["from_intended_start"] = LatencyJson(operation.from_intended);
  json["service"] = LatencyJson(operation.service);
  return json;
}

Json CountsJson(const Counts& counts) {
  Json json = Json::object();
  for (const auto& [name, count] : counts) json[name] = count;
  return json;
}

Json GeometryJson(const RunDescription& run) {
  Json json;
  json["model"] = run.model;
  json["layers"] = run.geometry.layers;
  json["kv_heads"] = run.geometry.kv_heads;
  json["q_heads"] = run.geometry.q_heads;
  json["head_dim"] = run.geometry.head_dim;
  json["block_tokens"] = run.geometry.block_tokens;
  json["codec"] = CodecPairName(run.geometry.codec);
  json["block_bytes"] = run.block_bytes;
  json["fp16_block_bytes"] = Fp16BytesPerToken(run.geometry) * run.geometry.block_tokens;
  return json;
}

Json ScheduleJson(const RunDescription& run) {
  Json json;
  json["mode"] = run.arrivals.as_fast_as_possible ? "as fast as possible" : "open loop";
  json["time_scale"] = run.arrivals.time_scale;
  json["max_rate"] = run.arrivals.max_rate;
  json["threads"] = run.replay.threads;
  json["ordered"] = run.replay.ordered || run.replay.threads == 1;
  json["seed"] = run.replay.seed;
  json["duration_limit_s"] = Seconds(run.replay.duration);
  return json;
}

struct Hits {
  uint64_t blocks = 0, full_blocks = 0, block_references = 0, prompt_tokens = 0;
};

// One set of hits under three denominators; FORMAT of the names is explained in README.md, "Hit ratio".
Json HitsJson(const RunDescription& run, const Hits& hits) {
  Json json;
  json["token_ratio"] =
      TokenHitRatio(hits.blocks, run.geometry.block_tokens, run.workload->tokens_per_store_token, hits.prompt_tokens);
  json["block_reference_ratio"] = Ratio(hits.blocks, hits.block_references);
  json["full_block_ratio"] = Ratio(hits.blocks, hits.full_blocks);
  json["blocks"] = hits.blocks;
  return json;
}

Json BytesJson(const RunDescription& run, const Tally& tally) {
  const uint64_t fp16_block = Fp16BytesPerToken(run.geometry) * run.geometry.block_tokens;
  const uint64_t fp16_stored = tally.stored_blocks * fp16_block, fp16_shipped = tally.fetched_blocks * fp16_block;
  Json json;
  json["stored"] = tally.stored_bytes;
  json["stored_as_fp16"] = fp16_stored;
  json["stored_saved"] = static_cast<int64_t>(fp16_stored) - static_cast<int64_t>(tally.stored_bytes);
  json["shipped"] = tally.fetched_bytes;
  json["shipped_as_fp16"] = fp16_shipped;
  json["shipped_saved"] = static_cast<int64_t>(fp16_shipped) - static_cast<int64_t>(tally.fetched_bytes);
  json["ratio_to_fp16"] = Ratio(run.block_bytes, fp16_block);
  return json;
}

// `in_calls`: bytes over the time spent inside the calls, all workers' times added up: the rate that one worker sees.
Json RateJson(const RunDescription& run, uint64_t blocks, uint64_t bytes, double elapsed_s,
              const LatencyHistogram& service) {
  const uint64_t fp16 = blocks * Fp16BytesPerToken(run.geometry) * run.geometry.block_tokens;
  const double in_calls_s = service.sum_ns() / 1e9;
  Json json;
  json["gb_per_s"] = PerSecond(bytes, elapsed_s) / 1e9;
  json["fp16_equivalent_gb_per_s"] = PerSecond(fp16, elapsed_s) / 1e9;
  json["in_calls_gb_per_s"] = PerSecond(bytes, in_calls_s) / 1e9;
  json["in_calls_fp16_equivalent_gb_per_s"] = PerSecond(fp16, in_calls_s) / 1e9;
  return json;
}

Json FirstTokenJson(const RunDescription& run, const Tally& tally) {
  const ComputeAssumptions& compute = run.compute;
  Json assumptions;
  assumptions["compute_model"] = compute.model.model;
  assumptions["flops_per_token"] = compute.model.flops_per_token;
  assumptions["flops_per_attended_pair"] = compute.model.flops_per_token_pair;
  assumptions["accelerator_sustained_flops"] = compute.sustained_flops;
  assumptions["full_cache_bytes_per_token"] = compute.full_bytes_per_token;
  assumptions["stored_cache_bytes_per_token"] = compute.stored_bytes_per_token;
  assumptions["transfer_bytes_per_s_for_the_rest"] = compute.transfer_bytes_per_s;
  Json json;
  json["assumptions"] = std::move(assumptions);
  json["with_cache_ms"] = LatencyJson(tally.first_token_cached);
  json["without_cache_ms"] = LatencyJson(tally.first_token_uncached);
  return json;
}

Json DeviceJson(const DeviceUse& use) {
  Json json;
  json["device"] = use.device();
  json["calls_on_cuda"] = use.on_cuda;
  json["calls_on_cpu"] = use.on_cpu;
  if (use.on_cpu > 0) json["why_cpu"] = use.why_cpu;
  return json;
}

Json AttentionJson(const AttentionTally& attention) {
  Json json;
  json["prefixes"] = attention.prefixes;
  json["tokens"] = attention.tokens;
  json["time_ms"] = LatencyJson(attention.time);
  json["tokens_per_s_in_calls"] = PerSecond(attention.tokens, attention.time.sum_ns() / 1e9);
  json["device"] = DeviceJson(attention.device);
  json["checked"] = attention.checked;
  json["tolerance"] = kAttentionTolerance;
  json["worst_error_against_exact"] = attention.worst_kernel_error;
  json["mean_error_against_uncompressed"] =
      attention.checked == 0 ? 0 : attention.compression_error_sum / static_cast<double>(attention.checked);
  return json;
}

Json VerificationJson(const RunResult& result) {
  Json json;
  json["failures"] = result.state.tally.TotalVerificationFailures();
  json["by_kind"] = CountsJson(result.state.tally.verification_failures);
  json["blocks_by_digest"] = result.verifier.by_digest;
  json["blocks_by_recomputation"] = result.verifier.by_recomputation;
  json["blocks_encoded"] = result.verifier.encoded;
  return json;
}

Json RequestsJson(const RunDescription& run, const ReplayState& state) {
  Json json;
  json["in_workload"] = run.workload->requests.size();
  json["started"] = state.started;
  json["finished"] = state.tally.requests;
  json["overdue_not_started"] = state.overdue;
  json["prompt_tokens"] = state.tally.prompt_tokens;
  json["per_s"] = PerSecond(state.tally.requests, Seconds(state.elapsed));
  return json;
}

}  // namespace

double TokenHitRatio(uint64_t hit_blocks, uint32_t block_tokens, double tokens_per_store_token,
                     uint64_t prompt_tokens) {
  if (prompt_tokens == 0) return 0;
  return static_cast<double>(hit_blocks) * block_tokens * tokens_per_store_token / static_cast<double>(prompt_tokens);
}

int ExitCode(const RunDescription& run, const RunResult& result) {
  const Tally& tally = result.state.tally;
  if (tally.TotalVerificationFailures() > 0) return kExitVerificationFailed;
  const double ratio = TokenHitRatio(tally.hit_blocks, run.geometry.block_tokens, run.workload->tokens_per_store_token,
                                     tally.prompt_tokens);
  return ratio < run.required_hit_ratio ? kExitHitRatioTooLow : kExitOk;
}

Json WorkloadJson(const RunDescription& run) {
  uint64_t prompt_tokens = 0;
  for (const Request& request : run.workload->requests) prompt_tokens += request.prompt_tokens;
  Json json;
  json["name"] = run.workload->name;
  json["kind"] = run.workload->kind;
  json["block_map"] = run.workload->block_map;
  json["tokens_per_store_token"] = run.workload->tokens_per_store_token;
  json["requests"] = run.workload->requests.size();
  json["span_s"] = run.workload->requests.back().arrival_s - run.workload->requests.front().arrival_s;
  json["prompt_tokens"] = prompt_tokens;
  json["block_references"] = run.plan->block_references();
  json["full_blocks"] = run.plan->full_blocks();
  json["distinct_full_blocks"] = run.plan->distinct_blocks();
  json["ideal"] = HitsJson(
      run, {run.plan->reusable_blocks(), run.plan->full_blocks(), run.plan->block_references(), prompt_tokens});
  return json;
}

Json ReportJson(const RunDescription& run, const RunResult& result) {
  const Tally& tally = result.state.tally;
  const double elapsed_s = Seconds(result.state.elapsed);
  Json json;
  json["schema"] = kReportSchema;
  json["server"] = run.server;
  json["namespace"] = run.namespace_name;
  json["salt"] = run.salt;
  json["elapsed_s"] = elapsed_s;
  json["interrupted"] = result.state.stopped;
  json["workload"] = WorkloadJson(run);
  json["geometry"] = GeometryJson(run);
  json["schedule"] = ScheduleJson(run);
  json["requests"] = RequestsJson(run, result.state);
  const uint64_t tokens = tally.prompt_tokens;
  json["hits"] = HitsJson(run, {tally.hit_blocks, tally.full_blocks, tally.block_references, tokens});
  json["ideal_hits"] = HitsJson(run, {tally.ideal_blocks, tally.full_blocks, tally.block_references, tokens});
  json["ideal_hit_ratio"] = json["ideal_hits"]["token_ratio"];
  json["hit_blocks_beyond_ideal"] = tally.hit_blocks_beyond_ideal;
  json["miss_blocks"] = CountsJson(tally.miss_blocks);
  json["match_stops"] = CountsJson(tally.match_stops);
  json["fetch_outcomes"] = CountsJson(tally.fetch_outcomes);
  json["store_outcomes"] = CountsJson(tally.store_outcomes);
  json["bytes"] = BytesJson(run, tally);
  json["latency_ms"]["start_delay"] = LatencyJson(tally.start_delay);
  json["latency_ms"]["match"] = OperationJson(tally.match);
  json["latency_ms"]["fetch"] = OperationJson(tally.fetch);
  json["latency_ms"]["store"] = OperationJson(tally.store);
  json["latency_ms"]["prefix_ready"] = LatencyJson(tally.prefix_ready);
  json["throughput"]["fetch"] =
      RateJson(run, tally.fetched_blocks, tally.fetched_bytes, elapsed_s, tally.fetch.service);
  json["throughput"]["store"] = RateJson(run, tally.stored_blocks, tally.stored_bytes, elapsed_s, tally.store.service);
  json["first_token"] = FirstTokenJson(run, tally);
  if (run.attend) json["attention"] = AttentionJson(tally.attention);
  json["encoding"] = DeviceJson(result.encoding);
  json["errors"] = CountsJson(tally.errors);
  json["verification"] = VerificationJson(result);
  json["server_stats"] = Json::object();
  for (const auto& [name, value] : result.server_stats) json["server_stats"][name] = value;
  json["required_hit_ratio"] = run.required_hit_ratio;
  json["exit_code"] = ExitCode(run, result);
  return json;
}

}  // namespace polarkv::load
