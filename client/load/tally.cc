#include "client/load/tally.h"

#include <algorithm>

namespace polarkv::load {
namespace {

void MergeCounts(Counts& into, const Counts& from) {
  for (const auto& [name, count] : from) into[name] += count;
}

uint64_t Total(const Counts& counts) {
  uint64_t total = 0;
  for (const auto& [name, count] : counts) total += count;
  return total;
}

}  // namespace

void OperationTally::Record(std::chrono::nanoseconds service_time, std::chrono::nanoseconds start_delay) {
  service.Record(service_time);
  from_intended.Record(service_time + start_delay);
}

void OperationTally::Merge(const OperationTally& other) {
  calls += other.calls;
  failed_calls += other.failed_calls;
  from_intended.Merge(other.from_intended);
  service.Merge(other.service);
}

void AttentionTally::Merge(const AttentionTally& other) {
  prefixes += other.prefixes;
  tokens += other.tokens;
  checked += other.checked;
  worst_kernel_error = std::max(worst_kernel_error, other.worst_kernel_error);
  compression_error_sum += other.compression_error_sum;
  time.Merge(other.time);
  device.on_cuda += other.device.on_cuda;
  device.on_cpu += other.device.on_cpu;
  if (device.why_cpu.empty()) device.why_cpu = other.device.why_cpu;
}

void Tally::Merge(const Tally& other) {
  requests += other.requests;
  prompt_tokens += other.prompt_tokens;
  block_references += other.block_references;
  full_blocks += other.full_blocks;
  ideal_blocks += other.ideal_blocks;
  hit_blocks += other.hit_blocks;
  hit_blocks_beyond_ideal += other.hit_blocks_beyond_ideal;
  fetched_blocks += other.fetched_blocks;
  fetched_bytes += other.fetched_bytes;
  stored_blocks += other.stored_blocks;
  stored_bytes += other.stored_bytes;
  MergeCounts(miss_blocks, other.miss_blocks);
  MergeCounts(match_stops, other.match_stops);
  MergeCounts(store_outcomes, other.store_outcomes);
  MergeCounts(fetch_outcomes, other.fetch_outcomes);
  MergeCounts(errors, other.errors);
  MergeCounts(verification_failures, other.verification_failures);
  match.Merge(other.match);
  fetch.Merge(other.fetch);
  store.Merge(other.store);
  start_delay.Merge(other.start_delay);
  prefix_ready.Merge(other.prefix_ready);
  first_token_cached.Merge(other.first_token_cached);
  first_token_uncached.Merge(other.first_token_uncached);
  attention.Merge(other.attention);
}

uint64_t Tally::TotalVerificationFailures() const { return Total(verification_failures); }
uint64_t Tally::TotalErrors() const { return Total(errors); }

}  // namespace polarkv::load
