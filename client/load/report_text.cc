#include "client/load/report_text.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace polarkv::load {
namespace {

double Seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

std::string Percent(double ratio) { return absl::StrFormat("%.2f %%", 100 * ratio); }
double Ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

double HitRatio(const RunDescription& run, uint64_t blocks, const Tally& tally) {
  return TokenHitRatio(blocks, run.geometry.block_tokens, run.workload->tokens_per_store_token, tally.prompt_tokens);
}

// "first reference 170899, evicted 12"; "none" when empty.
std::string CountsText(const Counts& counts) {
  std::string text;
  for (const auto& [name, count] : counts) absl::StrAppend(&text, text.empty() ? "" : ", ", name, " ", count);
  return text.empty() ? "none" : text;
}

std::string PercentileText(const LatencyHistogram& histogram, double q) {
  const std::optional<uint64_t> value = histogram.PercentileNs(q);
  return value.has_value() ? DurationText(static_cast<double>(*value)) : "-";
}

std::string LatencyRow(const std::string& name, const LatencyHistogram& histogram) {
  return absl::StrFormat("  %-22s %8d  %9s %9s %9s %9s %9s\n", name, histogram.count(), PercentileText(histogram, 0.5),
                         PercentileText(histogram, 0.9), PercentileText(histogram, 0.99),
                         PercentileText(histogram, 0.999),
                         histogram.count() == 0 ? "-" : DurationText(static_cast<double>(histogram.max_ns())));
}

std::string LatencyText(const RunDescription& run, const Tally& tally) {
  const bool open_loop = !run.arrivals.as_fast_as_possible;
  std::string text =
      open_loop ? "latency, from the intended start of the request (calls alone in brackets)\n"
                : "latency of the calls alone (as fast as possible: there is no schedule to be late against)\n";
  absl::StrAppendFormat(&text, "  %-22s %8s  %9s %9s %9s %9s %9s\n", "", "count", "p50", "p90", "p99", "p99.9", "max");
  const auto rows = [&](const std::string& name, const OperationTally& operation) {
    if (open_loop) absl::StrAppend(&text, LatencyRow(name, operation.from_intended));
    absl::StrAppend(&text, LatencyRow(open_loop ? "  (" + name + ")" : name, operation.service));
  };
  rows("match", tally.match);
  rows("fetch", tally.fetch);
  rows("store", tally.store);
  absl::StrAppend(&text, LatencyRow("prefix ready", tally.prefix_ready));
  if (open_loop) absl::StrAppend(&text, LatencyRow("start delay", tally.start_delay));
  if (run.attend) absl::StrAppend(&text, LatencyRow("attention, 1 query", tally.attention.time));
  return text;
}

std::string HitText(const RunDescription& run, const Tally& tally) {
  std::string text = absl::StrCat(
      "hits       ", Percent(HitRatio(run, tally.hit_blocks, tally)),
      " of prompt tokens; an unbounded cache: ", Percent(HitRatio(run, tally.ideal_blocks, tally)), "\n           ",
      tally.hit_blocks, " of ", tally.full_blocks,
      " full blocks = ", Percent(Ratio(tally.hit_blocks, tally.full_blocks)), "; of ", tally.block_references,
      " block references, partial ones included: ", Percent(Ratio(tally.hit_blocks, tally.block_references)), "\n");
  if (tally.hit_blocks_beyond_ideal > 0) {
    absl::StrAppend(&text, "           ", tally.hit_blocks_beyond_ideal,
                    " hits beyond the ideal: blocks of an earlier run, or of requests that overtook others\n");
  }
  absl::StrAppend(&text, "misses     ", CountsText(tally.miss_blocks), " (blocks)\n");
  return text;
}

std::string BytesLines(const RunDescription& run, const RunResult& result) {
  const Tally& tally = result.state.tally;
  const double fp16_block = static_cast<double>(Fp16BytesPerToken(run.geometry)) * run.geometry.block_tokens;
  const double elapsed = std::max(1e-9, Seconds(result.state.elapsed));
  const auto line = [&](const char* name, uint64_t blocks, uint64_t bytes, const LatencyHistogram& service) {
    const double fp16 = static_cast<double>(blocks) * fp16_block;
    const double in_calls = std::max(1e-9, service.sum_ns() / 1e9);
    return absl::StrFormat(
        "%-10s %d blocks, %s; fp16 would be %s, saved %s; %.3f GB/s (fp16 %.3f), inside calls %.3f\n", name, blocks,
        BytesText(static_cast<double>(bytes)), BytesText(fp16), BytesText(fp16 - static_cast<double>(bytes)),
        static_cast<double>(bytes) / elapsed / 1e9, fp16 / elapsed / 1e9, static_cast<double>(bytes) / in_calls / 1e9);
  };
  return line("stored", tally.stored_blocks, tally.stored_bytes, tally.store.service) +
         line("fetched", tally.fetched_blocks, tally.fetched_bytes, tally.fetch.service);
}

std::string FirstTokenText(const RunDescription& run, const Tally& tally) {
  const ComputeAssumptions& compute = run.compute;
  const auto mean = [](const LatencyHistogram& histogram) {
    return DurationText(histogram.count() == 0 ? 0 : histogram.sum_ns() / static_cast<double>(histogram.count()));
  };
  return absl::StrFormat(
      "first token, estimated for %s at %.0f Tflop/s: mean %s with the cache, %s without (p50 %s, %s)\n"
      "           %.3g flop a token + %.3g a pair of tokens; cache bytes that scaling left out at %.1f GB/s\n",
      compute.model.model, compute.sustained_flops / 1e12, mean(tally.first_token_cached),
      mean(tally.first_token_uncached), PercentileText(tally.first_token_cached, 0.5),
      PercentileText(tally.first_token_uncached, 0.5), compute.model.flops_per_token,
      compute.model.flops_per_token_pair, compute.transfer_bytes_per_s / 1e9);
}

std::string AttentionText(const AttentionTally& attention) {
  const double seconds = std::max(1e-9, attention.time.sum_ns() / 1e9);
  std::string text =
      absl::StrFormat("attention  %d prefixes, %d tokens, %.3g tokens/s inside calls", attention.prefixes,
                      attention.tokens, static_cast<double>(attention.tokens) / seconds);
  if (attention.checked > 0) {
    absl::StrAppendFormat(&text,
                          "; %d checked in double precision: worst error %.2g (allowed %.2g);\n"
                          "           %.1f %% mean difference from the uncompressed cache",
                          attention.checked, attention.worst_kernel_error, kAttentionTolerance,
                          100 * attention.compression_error_sum / static_cast<double>(attention.checked));
  }
  return text + "\n";
}

std::string Verdict(const RunDescription& run, const RunResult& result) {
  const Tally& tally = result.state.tally;
  std::string text =
      absl::StrCat("errors     ", CountsText(tally.errors), "\n", "verified   ",
                   result.verifier.by_digest + result.verifier.by_recomputation, " fetched blocks, ",
                   result.verifier.by_recomputation,
                   " of them against a fresh encoding; failures: ", CountsText(tally.verification_failures), "\n");
  if (ExitCode(run, result) == kExitHitRatioTooLow) {
    absl::StrAppend(&text, "FAILED     the hit ratio ", Percent(HitRatio(run, tally.hit_blocks, tally)),
                    " is below the required ", Percent(run.required_hit_ratio), "\n");
  }
  if (tally.TotalVerificationFailures() > 0) absl::StrAppend(&text, "FAILED     wrong bytes or results, see above\n");
  return text;
}

// Start delays below this are a scheduler's noise.
constexpr uint64_t kLateNs = 100'000'000;

std::string RequestsText(const ReplayState& state, size_t in_workload, uint32_t threads) {
  const double elapsed = std::max(1e-9, Seconds(state.elapsed));
  std::string text =
      absl::StrFormat("requests   %d of %d in %.1f s, %.1f/s%s\n", state.tally.requests, in_workload, elapsed,
                      static_cast<double>(state.tally.requests) / elapsed, state.stopped ? ", interrupted" : "");
  if (state.overdue > 0) {
    absl::StrAppend(&text, "           ", state.overdue, " more were due but not started: the latencies lack these\n");
  }
  const std::optional<uint64_t> late = state.tally.start_delay.PercentileNs(0.99);
  if (state.overdue > 0 || (late.has_value() && *late > kLateNs)) {
    absl::StrAppend(&text, "           behind schedule: the server, or this tester with its ", threads,
                    " threads, cannot keep up at this rate\n");
  }
  return text;
}

}  // namespace

std::string BytesText(double bytes) {
  constexpr std::array<const char*, 5> kUnits{"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  double value = bytes;
  for (; (value >= 999.5 || value <= -999.5) && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return unit == 0 ? absl::StrFormat("%.0f B", value) : absl::StrFormat("%.3g %s", value, kUnits[unit]);
}

std::string DurationText(double nanoseconds) {
  if (nanoseconds < 999.5e3) return absl::StrFormat("%.3g us", nanoseconds / 1e3);
  if (nanoseconds < 999.5e6) return absl::StrFormat("%.3g ms", nanoseconds / 1e6);
  return absl::StrFormat("%.*f s", nanoseconds < 100e9 ? 2 : 0, nanoseconds / 1e9);
}

std::string ProgressLine(const RunDescription& run, const ReplayState& state) {
  const Tally& tally = state.tally;
  return absl::StrFormat("%4.0f s  %d/%d requests  hits %s  stored %s  fetched %s  ready p99 %s  errors %d  wrong %d",
                         Seconds(state.elapsed), tally.requests, run.workload->requests.size(),
                         Percent(HitRatio(run, tally.hit_blocks, tally)),
                         BytesText(static_cast<double>(tally.stored_bytes)),
                         BytesText(static_cast<double>(tally.fetched_bytes)), PercentileText(tally.prefix_ready, 0.99),
                         tally.TotalErrors(), tally.TotalVerificationFailures());
}

std::string WorkloadText(const RunDescription& run) {
  const nlohmann::ordered_json json = WorkloadJson(run);
  const nlohmann::ordered_json& ideal = json["ideal"];
  return absl::StrCat("workload   ", run.workload->name, " (", run.workload->kind, "): ", run.workload->requests.size(),
                      " requests over ", absl::StrFormat("%.0f", json["span_s"].get<double>()), " s, ",
                      json["prompt_tokens"].get<uint64_t>(), " prompt tokens\n           ", run.workload->block_map,
                      "\n", "           ", run.plan->full_blocks(), " full blocks, ", run.plan->distinct_blocks(),
                      " distinct; an unbounded cache serves ", run.plan->reusable_blocks(), ":\n           ",
                      Percent(ideal["token_ratio"].get<double>()), " of prompt tokens, ",
                      Percent(ideal["full_block_ratio"].get<double>()), " of full blocks, ",
                      Percent(ideal["block_reference_ratio"].get<double>()), " of all ", run.plan->block_references(),
                      " block references\n");
}

std::string ReportText(const RunDescription& run, const RunResult& result) {
  const Tally& tally = result.state.tally;
  std::string text = RequestsText(result.state, run.workload->requests.size(), run.replay.threads);
  absl::StrAppend(&text, HitText(run, tally), BytesLines(run, result));
  absl::StrAppend(&text, LatencyText(run, tally), FirstTokenText(run, tally));
  if (run.attend) absl::StrAppend(&text, AttentionText(tally.attention));
  absl::StrAppend(&text, "devices    encoding: ", DeviceUseText(result.encoding));
  if (run.attend) absl::StrAppend(&text, "\n           attention: ", DeviceUseText(tally.attention.device));
  absl::StrAppend(&text, "\n", Verdict(run, result));
  return text;
}

}  // namespace polarkv::load
