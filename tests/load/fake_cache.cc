#include "tests/load/fake_cache.h"

#include <algorithm>

namespace polarkv::load {

absl::StatusOr<PrefixMatch> FakeCache::Match(std::span<const BlockKey> keys) {
  if (before_match) before_match(keys);
  if (match_status) {
    if (absl::Status status = match_status(); !status.ok()) return status;
  }
  const std::lock_guard lock(mutex_);
  PrefixMatch match;
  while (match.matched_blocks < keys.size() && blocks_.contains(keys[match.matched_blocks])) {
    match.block_bytes.push_back(blocks_.at(keys[match.matched_blocks]).size());
    ++match.matched_blocks;
  }
  match.stop = match.matched_blocks == keys.size() ? MatchStop::kAllMatched : stop;
  if (match.matched_blocks > 0) leases_.insert(match.lease_id = next_lease_++);
  return match;
}

void FakeCache::FetchOne(const BlockKey& key, size_t index, FetchSlot& slot) {
  const auto found = blocks_.find(key);
  slot.outcome = found == blocks_.end() ? FetchOutcome::kNotFound : FetchOutcome::kOk;
  if (fetch_outcome && fetch_outcome(index) != FetchOutcome::kOk) slot.outcome = fetch_outcome(index);
  if (slot.outcome != FetchOutcome::kOk) return;
  std::vector<uint8_t> bytes = found->second;
  if (on_fetch) on_fetch(key, bytes);
  slot.bytes = bytes.size();
  if (bytes.size() > slot.buffer.size()) {
    slot.outcome = FetchOutcome::kBufferTooSmall;
    return;
  }
  std::ranges::copy(bytes, slot.buffer.begin());
  absl::StatusOr<BlockView> view = BlockView::Parse(slot.buffer.first(slot.bytes), VerifyPayload::kNo);
  if (view.ok()) slot.view.push_back(*std::move(view));
}

absl::Status FakeCache::Fetch(std::span<const BlockKey> keys, std::span<FetchSlot> slots, uint64_t lease_id) {
  if (fetch_status) {
    if (absl::Status status = fetch_status(); !status.ok()) return status;
  }
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < keys.size(); ++i) FetchOne(keys[i], i, slots[i]);
  leases_.erase(lease_id);
  return absl::OkStatus();
}

absl::Status FakeCache::Store(std::span<const StoreItem> items, std::span<StoreOutcome> outcomes) {
  if (store_status) {
    if (absl::Status status = store_status(); !status.ok()) return status;
  }
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < items.size(); ++i) {
    if (store_outcome && store_outcome(items[i]) != StoreOutcome::kStored) {
      outcomes[i] = store_outcome(items[i]);
      continue;
    }
    if (items[i].parent != BlockKey{} && !blocks_.contains(items[i].parent)) ++orphans_;
    const std::vector<uint8_t> bytes(items[i].block.begin(), items[i].block.end());
    const auto [found, inserted] = blocks_.try_emplace(items[i].key, bytes);
    outcomes[i] = inserted                 ? StoreOutcome::kStored
                  : found->second == bytes ? StoreOutcome::kDuplicate
                                           : StoreOutcome::kConflict;
  }
  return absl::OkStatus();
}

void FakeCache::Release(uint64_t lease_id) {
  const std::lock_guard lock(mutex_);
  leases_.erase(lease_id);
}

void FakeCache::Erase(const BlockKey& key) {
  const std::lock_guard lock(mutex_);
  blocks_.erase(key);
}

size_t FakeCache::blocks() const {
  const std::lock_guard lock(mutex_);
  return blocks_.size();
}

size_t FakeCache::open_leases() const {
  const std::lock_guard lock(mutex_);
  return leases_.size();
}

size_t FakeCache::orphans() const {
  const std::lock_guard lock(mutex_);
  return orphans_;
}

}  // namespace polarkv::load
