#include "service/local_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/stored_block_check.h"

namespace polarkv {
namespace {

constexpr size_t kDeleteChunk = 1024;  // blocks deleted under one lock

}  // namespace

absl::StatusOr<std::shared_ptr<BlockBuffer>> LocalStore::Allocate(uint64_t bytes) {
  return AllocateLeaving(bytes, read_reserve_);
}

absl::StatusOr<std::shared_ptr<BlockBuffer>> LocalStore::AllocateLeaving(uint64_t bytes, uint64_t leave) {
  if (bytes == 0) return absl::InvalidArgumentError("a block of 0 bytes");
  if (bytes > arena_->limit() - leave) {
    return absl::ResourceExhaustedError(absl::StrCat("a block of ", bytes, " bytes is larger than the memory budget (",
                                                     arena_->limit(), " bytes, ", leave, " of them for reading)"));
  }
  const auto deadline = std::chrono::steady_clock::now() + options_.max_wait;
  Lock lock(mu_);
  EndExpiredLeasesLocked();
  for (;;) {
    if (std::shared_ptr<BlockBuffer> buffer = TryAllocateLocked(bytes, leave)) return buffer;
    // Blocks that wait for the disk can be dropped from memory once they are there; nothing else here ends by itself.
    if (pending_blocks_ == 0 || progress_.wait_until(lock, deadline) == std::cv_status::timeout) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "no memory for a block of ", bytes, " bytes: ", arena_->used(), " of ", arena_->limit(),
          " bytes are used by blocks that are leased, being received or read, or waiting for the disk; try again later"));
    }
  }
}

std::shared_ptr<BlockBuffer> LocalStore::TryAllocateLocked(uint64_t bytes, uint64_t leave) {
  for (;;) {
    if (std::shared_ptr<BlockBuffer> buffer = arena_->TryAllocate(bytes, leave)) return buffer;
    if (!EvictFromMemoryLocked()) return nullptr;
  }
}

bool LocalStore::EvictFromMemoryLocked() {
  BlockEntry* victim = index_.MemoryVictim();
  if (victim == nullptr) return false;
  if (!victim->disk.empty()) {
    index_.TakeMemory(victim);
  } else {
    ++evicted_;
    VanishLocked(victim, AbsenceReason::kEvicted);
  }
  return true;
}

void LocalStore::VanishLocked(BlockEntry* entry, AbsenceReason reason) {
  // The reason why a doomed block is gone was recorded when it was doomed.
  if (!entry->doomed) absences_.Record(entry->name, reason);
  if (!entry->disk.empty()) graveyard_.push_back(index_.TakeDisk(entry));
  index_.Remove(entry);
  arena_->ReleaseOther(kEntryBytes);
}

void LocalStore::UnpinLocked(BlockEntry* entry) {
  index_.Unpin(entry);
  if (entry->doomed && entry->pins == 0) VanishLocked(entry, AbsenceReason::kDeleted);
}

void LocalStore::EndExpiredLeasesLocked() { EndLeaseLocked(leases_.TakeExpired(LeaseTable::Clock::now())); }

void LocalStore::EndLeaseLocked(const LeaseTable::Entries& entries) {
  for (BlockEntry* entry : entries) {
    --entry->leases;
    UnpinLocked(entry);
  }
}

std::vector<PutResult> LocalStore::Put(NamespaceId ns, std::span<const PutItem> items) {
  uint64_t bytes = 0;
  for (const PutItem& item : items) bytes += item.bytes->size();
  if (absl::Status s = WaitForPendingWrites(bytes); !s.ok()) {
    return std::vector<PutResult>(items.size(), {PutOutcome::kNoSpace, std::string(s.message())});
  }
  Lock disk_lock(disk_mu_);
  NoteIntentsDisk(ns, items);
  std::vector<PutResult> results;
  std::vector<BlockName> rows_to_erase;
  std::vector<BlockEntry*> stored;
  {
    Lock lock(mu_);
    EndExpiredLeasesLocked();
    for (const PutItem& item : items) {
      const BlockName name = {ns, item.key};
      BlockEntry* entry = index_.Find(name);
      results.push_back(entry != nullptr ? PutAgainLocked(entry, item) : InsertLocked(name, item, rows_to_erase));
      const bool is_stored = results.back().outcome == PutOutcome::kStored;
      stored.push_back(is_stored ? index_.Find(name) : nullptr);
      if (!is_stored && entry == nullptr) rows_to_erase.push_back(name);  // its intent
    }
  }
  EraseRowsDisk(rows_to_erase);
  FinishPut(std::move(disk_lock), stored, results);
  return results;
}

PutResult LocalStore::PutAgainLocked(BlockEntry* entry, const PutItem& item) {
  const uint64_t checksum = HeaderChecksum(item.bytes->bytes());
  if (entry->size != item.bytes->size() || entry->header_xxh3 != checksum) {
    return {PutOutcome::kConflict,
            absl::StrFormat("other bytes are stored under this key: %d bytes, header checksum %016x; offered were %d "
                            "bytes, %016x; the stored block stays",
                            entry->size, entry->header_xxh3, item.bytes->size(), checksum)};
  }
  index_.Touch(entry);
  if (!entry->doomed) return {PutOutcome::kDuplicate, ""};
  // Deleted or found corrupt while pinned, and now here again: with these bytes, whatever the disk had.
  index_.SetDoomed(entry, false);
  if (!entry->disk.empty()) graveyard_.push_back(index_.TakeDisk(entry));
  index_.TakeMemory(entry);
  index_.SetMemory(entry, item.bytes);
  absences_.Forget(entry->name);
  return {PutOutcome::kStored, ""};
}

PutResult LocalStore::InsertLocked(const BlockName& name, const PutItem& item, std::vector<BlockName>& evicted_rows) {
  if (!MakeRoomForEntryLocked(evicted_rows)) {
    return {PutOutcome::kNoSpace, "the index is full, and all that could be evicted is leased; try again later"};
  }
  const absl::StatusOr<BlockEntry*> entry = index_.Insert(name, item.parent, item.block_index, item.bytes->size(),
                                                          HeaderChecksum(item.bytes->bytes()));
  if (!entry.ok()) {
    arena_->ReleaseOther(kEntryBytes);
    return {PutOutcome::kMismatch, std::string(entry.status().message())};
  }
  index_.SetMemory(*entry, item.bytes);
  absences_.Forget(name);
  return {PutOutcome::kStored, ""};
}

bool LocalStore::MakeRoomForEntryLocked(std::vector<BlockName>& evicted_rows) {
  while (index_.blocks() >= max_blocks_) {
    BlockEntry* victim = index_.MemoryOnlyVictim();
    if (victim == nullptr) victim = index_.DiskVictim();
    if (victim == nullptr) return false;
    if (!victim->disk.empty()) evicted_rows.push_back(victim->name);
    ++evicted_;
    VanishLocked(victim, AbsenceReason::kEvicted);
  }
  while (!arena_->TryChargeOther(kEntryBytes)) {
    if (!EvictFromMemoryLocked()) return false;
  }
  return true;
}

PrefixMatchResult LocalStore::MatchPrefix(NamespaceId ns, std::span<const BlockKey> keys,
                                          std::chrono::milliseconds lease) {
  PrefixMatchResult result;
  LeaseTable::Entries matched;
  Lock lock(mu_);
  EndExpiredLeasesLocked();
  for (const BlockKey& key : keys) {
    BlockEntry* entry = index_.Find({ns, key});
    if (entry == nullptr || entry->doomed) {
      result.stop = absences_.Reason({ns, key});
      break;
    }
    matched.push_back(entry);
    result.block_bytes.push_back(entry->size);
  }
  // The last block first, so that parents stay younger than their children.
  for (auto entry = matched.rbegin(); entry != matched.rend(); ++entry) index_.Touch(*entry);
  if (lease.count() > 0 && !matched.empty() && leases_.HasRoomFor(matched.size())) {
    for (BlockEntry* entry : matched) {
      index_.Pin(entry);
      ++entry->leases;
    }
    result.lease = std::min(lease, options_.max_lease);
    result.lease_id = leases_.Grant(std::move(matched), LeaseTable::Clock::now() + result.lease);
  }
  return result;
}

std::vector<absl::StatusOr<BlockBytes>> LocalStore::Get(NamespaceId ns, std::span<const BlockKey> keys) {
  std::vector<absl::StatusOr<BlockBytes>> blocks;
  blocks.reserve(keys.size());
  for (const BlockKey& key : keys) blocks.push_back(GetOne({ns, key}));
  return blocks;
}

absl::StatusOr<BlockBytes> LocalStore::GetOne(const BlockName& name) {
  Lock lock(mu_);
  EndExpiredLeasesLocked();
  BlockEntry* entry = index_.Find(name);
  // A deleted block stays readable for those who were promised it.
  if (entry == nullptr || (entry->doomed && entry->leases == 0))
    return absl::NotFoundError(absl::StrCat("block ", name.key.ToHex(), " is not stored"));
  index_.Touch(entry);
  if (entry->memory != nullptr) return entry->memory;
  index_.Pin(entry);
  lock.unlock();
  absl::StatusOr<BlockBytes> bytes = ReadFromDisk(entry);
  lock.lock();
  if (bytes.ok() && options_.keep_in_memory && entry->memory == nullptr && !entry->doomed) {
    index_.SetMemory(entry, *bytes);
  }
  UnpinLocked(entry);
  return bytes;
}

std::vector<bool> LocalStore::Exists(NamespaceId ns, std::span<const BlockKey> keys) const {
  std::vector<bool> exists;
  exists.reserve(keys.size());
  Lock lock(mu_);
  for (const BlockKey& key : keys) {
    const BlockEntry* entry = index_.Find({ns, key});
    exists.push_back(entry != nullptr && !entry->doomed);
  }
  return exists;
}

BlockTotals LocalStore::Delete(NamespaceId ns, std::span<const BlockKey> keys) {
  std::vector<BlockName> names;
  names.reserve(keys.size());
  for (const BlockKey& key : keys) names.push_back({ns, key});
  return DeleteNamed(names);
}

BlockTotals LocalStore::DeleteNamed(std::span<const BlockName> names) {
  BlockTotals deleted;
  std::vector<BlockName> rows;
  Lock disk_lock(disk_mu_);
  {
    Lock lock(mu_);
    EndExpiredLeasesLocked();
    for (const BlockName& name : names) {
      BlockEntry* entry = index_.Find(name);
      if (entry == nullptr || entry->doomed) continue;
      ++deleted.blocks;
      deleted.bytes += entry->size;
      rows.push_back(name);
      absences_.Record(name, AbsenceReason::kDeleted);
      index_.SetDoomed(entry, true);
      if (entry->pins == 0) VanishLocked(entry, AbsenceReason::kDeleted);
    }
  }
  EraseRowsDisk(rows, MetadataDb::Survives::kPower);  // somebody wanted them gone
  return deleted;
}

BlockTotals LocalStore::DeleteNamespace(NamespaceId ns) {
  BlockTotals deleted;
  for (;;) {
    std::vector<BlockName> names;
    {
      Lock lock(mu_);
      index_.ForEach(ns, [&](const BlockEntry* entry) {
        if (!entry->doomed) names.push_back(entry->name);
        return names.size() < kDeleteChunk;
      });
    }
    if (names.empty()) return deleted;
    const BlockTotals chunk = DeleteNamed(names);
    deleted.blocks += chunk.blocks;
    deleted.bytes += chunk.bytes;
  }
}

void LocalStore::ReleaseLease(uint64_t lease_id) {
  Lock lock(mu_);
  EndLeaseLocked(leases_.Release(lease_id));
}

BlockTotals LocalStore::Usage(NamespaceId ns) const {
  Lock lock(mu_);
  return index_.Usage(ns);
}

BlockStoreStats LocalStore::Stats() const {
  Lock lock(mu_);
  BlockStoreStats stats;
  stats.memory = index_.memory();
  stats.memory_used = arena_->used();
  stats.memory_budget = arena_->limit();
  stats.disk = index_.disk();
  if (disk_ != nullptr) {
    stats.disk_used = disk_->used_bytes();
    stats.disk_budget = options_.disk_budget;
  }
  stats.pending_writes = pending_blocks_;
  stats.leases = leases_.size();
  stats.evicted_blocks = evicted_;
  stats.corrupt_blocks = corrupt_;
  stats.lost_blocks = recovery_.unwritten_blocks + recovery_.damaged_blocks;
  stats.failed_writes = failed_writes_;
  return stats;
}

}  // namespace polarkv
