#include "client/load/request_runner.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace polarkv::load {
namespace {

using Clock = std::chrono::steady_clock;
using Nanoseconds = std::chrono::nanoseconds;

// The first reusable block that an unfinished request is to store; reusable_blocks where there is none.
uint32_t PendingFrom(const RequestReuse& reuse, const std::function<bool(uint32_t)>& finished) {
  uint32_t begin = 0;
  for (const BlockProvider& provider : reuse.providers) {
    if (!finished(provider.request)) return begin;
    begin = provider.end_block;
  }
  return reuse.reusable_blocks;
}

uint64_t AlignedBlock(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

RequestRunner::RequestRunner(const RunnerContext& context, const RunnerOptions& options)
    : context_(context),
      options_(options),
      kernels_(DeviceKernels::Make(options.device).value()),
      attention_(context.verifier->content(), options.q_heads, kernels_.get()) {}

Tally RequestRunner::snapshot() const {
  const std::lock_guard lock(mutex_);
  return tally_;
}

void RequestRunner::Run(const Request& request, const RequestReuse& reuse, uint64_t draw, Nanoseconds start_delay) {
  start_delay_ = start_delay;
  Prefix prefix;
  prefix.keys = context_.keys->Keys(request);
  if (!prefix.keys.empty()) {
    MatchPrefix(reuse, prefix);
    FetchPrefix(draw, prefix);
    StoreMissing(prefix);
  }
  CountRequest(request, reuse, prefix);
}

void RequestRunner::MatchPrefix(const RequestReuse& reuse, Prefix& prefix) {
  const uint32_t pending_from = PendingFrom(reuse, context_.finished);
  const Clock::time_point start = Clock::now();
  const absl::StatusOr<PrefixMatch> match = context_.cache->Match(prefix.keys);
  const Nanoseconds service = Clock::now() - start;
  prefix.transfer += service;
  Count([&](Tally& tally) {
    ++tally.match.calls;
    tally.match.Record(service, start_delay_);
    if (match.ok()) ++tally.match_stops[MatchStopName(match->stop)];
  });
  if (!match.ok()) {
    prefix.miss_reason = absl::StrCat("match ", absl::StatusCodeToString(match.status().code()));
    return CountError("match", match.status());
  }
  prefix.matched = std::min<uint32_t>(match->matched_blocks, static_cast<uint32_t>(prefix.keys.size()));
  prefix.lease = match->lease_id;
  prefix.miss_reason = prefix.matched >= pending_from ? "overlapping request" : MatchStopName(match->stop);
}

uint32_t RequestRunner::WindowEnd(uint32_t begin, uint32_t end) const {
  const uint64_t blocks = std::max<uint64_t>(1, options_.window_bytes / AlignedBlock(options_.block_bytes));
  return static_cast<uint32_t>(std::min<uint64_t>(end, begin + blocks));
}

void RequestRunner::FetchPrefix(uint64_t draw, Prefix& prefix) {
  if (prefix.matched == 0) return;
  attention_status_ = absl::OkStatus();
  attention_time_ = Nanoseconds{0};
  if (options_.attend) {
    const bool check = options_.check_attention_one_in != 0 && attended_ % options_.check_attention_one_in == 0;
    attention_.Start(std::span(prefix.keys).first(prefix.matched), draw, check);
  }
  Nanoseconds service{0};
  bool right = true;
  while (right && prefix.hit < prefix.matched) {
    right = FetchWindow(prefix, prefix.hit, WindowEnd(prefix.hit, prefix.matched), service);
  }
  if (prefix.lease != 0) context_.cache->Release(prefix.lease);
  prefix.transfer += service;
  Count([&](Tally& tally) { tally.fetch.Record(service, start_delay_); });
  if (options_.attend && right) FinishAttention(prefix);
}

bool RequestRunner::FetchWindow(Prefix& prefix, uint32_t begin, uint32_t end, Nanoseconds& service) {
  const std::span<const BlockKey> keys = std::span(prefix.keys).subspan(begin, end - begin);
  const uint64_t stride = AlignedBlock(options_.block_bytes);
  buffer_.Reserve(keys.size() * stride);
  std::vector<FetchSlot> slots(keys.size());
  for (size_t i = 0; i < slots.size(); ++i) slots[i].buffer = buffer_.span().subspan(i * stride, options_.block_bytes);
  // The last window's fetch ends the lease.
  const uint64_t lease = end == prefix.matched ? prefix.lease : 0;
  const Clock::time_point start = Clock::now();
  const absl::Status status = context_.cache->Fetch(keys, slots, lease);
  service += Clock::now() - start;
  if (lease != 0) prefix.lease = 0;
  Count([&](Tally& tally) {
    ++tally.fetch.calls;
    for (const FetchSlot& slot : slots) {
      ++tally.fetch_outcomes[FetchOutcomeName(slot.outcome)];
      if (slot.outcome != FetchOutcome::kOk) continue;
      ++tally.fetched_blocks;
      tally.fetched_bytes += slot.bytes;
    }
  });
  if (!status.ok()) CountError("fetch", status);
  for (const FetchSlot& slot : slots) {
    if (!Accept(slot, status, prefix)) return false;
    ++prefix.hit;
  }
  if (options_.attend && attention_status_.ok()) attention_status_ = AttendWindow(slots, keys);
  return true;
}

bool RequestRunner::Accept(const FetchSlot& slot, const absl::Status& fetched, Prefix& prefix) {
  const BlockKey& key = prefix.keys[prefix.hit];
  if (slot.outcome == FetchOutcome::kBufferTooSmall) {
    Fail("fetched size", absl::DataLossError(absl::StrCat("block ", key.ToHex(), " has ", slot.bytes,
                                                          " bytes, expected at most ", options_.block_bytes)));
    prefix.miss_reason = "wrong bytes";
    return false;
  }
  if (slot.outcome != FetchOutcome::kOk) {
    prefix.miss_reason = fetched.ok() ? absl::StrCat("fetch ", FetchOutcomeName(slot.outcome))
                                      : absl::StrCat("fetch ", absl::StatusCodeToString(fetched.code()));
    return false;
  }
  const absl::Status verified = context_.verifier->Check(key, prefix.hit, slot.buffer.first(slot.bytes));
  if (verified.ok()) return true;
  Fail("fetched bytes", verified);
  prefix.miss_reason = "wrong bytes";
  return false;
}

absl::Status RequestRunner::AttendWindow(std::span<const FetchSlot> slots, std::span<const BlockKey> keys) {
  std::vector<BlockView> views;
  views.reserve(slots.size());
  for (const FetchSlot& slot : slots) views.insert(views.end(), slot.view.begin(), slot.view.end());
  const Clock::time_point start = Clock::now();
  absl::Status status = attention_.Attend(views);
  attention_time_ += Clock::now() - start;
  if (status.ok() && attention_.checking()) status = attention_.AddToCheck(views, keys);
  return status;
}

void RequestRunner::FinishAttention(const Prefix& prefix) {
  ++attended_;
  if (!attention_status_.ok()) return Fail("attention", attention_status_);
  Count([&](Tally& tally) {
    ++tally.attention.prefixes;
    tally.attention.tokens += uint64_t{prefix.hit} * context_.keys->block_tokens();
    tally.attention.time.Record(attention_time_);
    tally.attention.device = kernels_->use();
  });
  if (!attention_.checking()) return;
  const absl::StatusOr<AttentionCheck> check = attention_.Finish();
  if (!check.ok()) return Fail("attention", check.status());
  Count([&](Tally& tally) {
    ++tally.attention.checked;
    tally.attention.worst_kernel_error = std::max(tally.attention.worst_kernel_error, check->kernel_error);
    tally.attention.compression_error_sum += check->compression_error;
  });
}

void RequestRunner::StoreMissing(const Prefix& prefix) {
  const uint32_t blocks = static_cast<uint32_t>(prefix.keys.size());
  if (prefix.hit == blocks) return;
  Nanoseconds service{0};
  bool going = true;
  for (uint32_t begin = prefix.hit; going && begin < blocks;) {
    const uint32_t end = WindowEnd(begin, blocks);
    going = StoreWindow(prefix, begin, end, service);
    begin = end;
  }
  Count([&](Tally& tally) { tally.store.Record(service, start_delay_); });
}

bool RequestRunner::StoreWindow(const Prefix& prefix, uint32_t begin, uint32_t end, Nanoseconds& service) {
  std::vector<std::vector<uint8_t>> blocks;
  std::vector<StoreItem> items;
  for (uint32_t i = begin; i < end; ++i) {
    absl::StatusOr<std::vector<uint8_t>> block = context_.verifier->Encode(prefix.keys[i], i);
    if (!block.ok()) {
      CountError("encode", block.status());
      return false;
    }
    blocks.push_back(*std::move(block));
    items.push_back({prefix.keys[i], i == 0 ? BlockKey{} : prefix.keys[i - 1], blocks.back()});
  }
  std::vector<StoreOutcome> outcomes(items.size(), StoreOutcome::kNotAcknowledged);
  const Clock::time_point start = Clock::now();
  const absl::Status status = context_.cache->Store(items, outcomes);
  service += Clock::now() - start;
  Count([&](Tally& tally) {
    ++tally.store.calls;
    for (size_t i = 0; i < items.size(); ++i) {
      ++tally.store_outcomes[StoreOutcomeName(outcomes[i])];
      if (outcomes[i] != StoreOutcome::kStored) continue;
      ++tally.stored_blocks;
      tally.stored_bytes += items[i].block.size();
    }
  });
  if (!status.ok()) CountError("store", status);
  for (size_t i = 0; i < items.size(); ++i) CountRefusal(items[i], outcomes[i]);
  return status.ok();
}

void RequestRunner::CountRefusal(const StoreItem& item, StoreOutcome outcome) {
  switch (outcome) {
    case StoreOutcome::kStored:
    case StoreOutcome::kDuplicate:
    case StoreOutcome::kNotAcknowledged:  // the call's status says why
      return;
    case StoreOutcome::kConflict:
      // Contents follow from keys, so other bytes under the same key are wrong bytes.
      return Fail("store conflict",
                  absl::DataLossError(absl::StrCat("block ", item.key.ToHex(), " is stored with other bytes")));
    default:
      Count([&](Tally& tally) { ++tally.errors[absl::StrCat("stored block: ", StoreOutcomeName(outcome))]; });
  }
}

void RequestRunner::CountRequest(const Request& request, const RequestReuse& reuse, const Prefix& prefix) {
  const uint32_t cold = reuse.full_blocks - std::max(prefix.hit, reuse.reusable_blocks);
  const uint32_t missed = reuse.full_blocks - prefix.hit - cold;
  const double hit_tokens =
      prefix.hit * static_cast<double>(context_.keys->block_tokens()) * options_.tokens_per_store_token;
  const uint64_t cached = static_cast<uint64_t>(hit_tokens);
  Count([&](Tally& tally) {
    ++tally.requests;
    tally.prompt_tokens += request.prompt_tokens;
    tally.block_references += BlockReferences(request, context_.keys->block_tokens());
    tally.full_blocks += reuse.full_blocks;
    tally.ideal_blocks += reuse.reusable_blocks;
    tally.hit_blocks += prefix.hit;
    tally.hit_blocks_beyond_ideal += prefix.hit - std::min(prefix.hit, reuse.reusable_blocks);
    if (cold > 0) tally.miss_blocks["first reference"] += cold;
    if (missed > 0) tally.miss_blocks[prefix.miss_reason] += missed;
    tally.start_delay.Record(start_delay_);
    tally.prefix_ready.Record(start_delay_ + prefix.transfer);
    tally.first_token_uncached.Record(PrefillTime(options_.compute, request.prompt_tokens, 0));
    tally.first_token_cached.Record(prefix.transfer + UnmeasuredTransfer(options_.compute, cached) +
                                    PrefillTime(options_.compute, request.prompt_tokens, cached));
  });
}

void RequestRunner::Fail(const char* kind, const absl::Status& status) {
  Count([&](Tally& tally) { ++tally.verification_failures[kind]; });
  if (context_.on_failure) context_.on_failure(status);
}

void RequestRunner::CountError(const char* call, const absl::Status& status) {
  Count([&](Tally& tally) { ++tally.errors[absl::StrCat(call, " ", absl::StatusCodeToString(status.code()))]; });
}

}  // namespace polarkv::load
