// The half of LocalStore that moves blocks to and from the disk.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "service/local_store.h"
#include "service/log.h"
#include "service/stored_block_check.h"

namespace polarkv {
namespace {

constexpr std::chrono::seconds kWarningInterval{10};

}  // namespace

absl::Status LocalStore::WaitForPendingWrites(uint64_t bytes) {
  const auto deadline = std::chrono::steady_clock::now() + options_.max_wait;
  Lock lock(mu_);
  // A batch larger than the limit goes when it is alone.
  while (pending_bytes_ > 0 && pending_bytes_ + bytes > max_pending_bytes_) {
    if (progress_.wait_until(lock, deadline) == std::cv_status::timeout) {
      return absl::ResourceExhaustedError(absl::StrCat("the disk does not keep up: ", pending_bytes_,
                                                       " bytes wait to be written; try again later"));
    }
  }
  return absl::OkStatus();
}

// An intent is on record before its block can be seen, so that a block that was acknowledged is never lost unnoticed.
void LocalStore::NoteIntentsDisk(NamespaceId ns, std::span<const PutItem> items) {
  if (disk_ == nullptr || !options_.keep_in_memory) return;
  std::vector<BlockName> fresh;
  {
    Lock lock(mu_);
    for (const PutItem& item : items) {
      const BlockEntry* entry = index_.Find({ns, item.key});
      if (entry == nullptr || entry->doomed) fresh.push_back({ns, item.key});
    }
  }
  if (absl::Status s = disk_->NoteIntents(fresh); !s.ok()) WarnOfFailedWrite(s);
}

void LocalStore::FinishPut(Lock disk_lock, std::span<BlockEntry* const> stored, std::vector<PutResult>& results) {
  if (disk_ == nullptr) return;
  std::vector<std::pair<size_t, BlockEntry*>> to_write;
  {
    Lock lock(mu_);
    for (size_t i = 0; i < stored.size(); ++i) {
      if (stored[i] == nullptr || stored[i]->writing) continue;
      BeginWriteLocked(stored[i]);
      if (options_.keep_in_memory) {
        queue_.push_back(stored[i]);
      } else {
        to_write.push_back({i, stored[i]});
      }
    }
  }
  work_.notify_one();
  disk_lock.unlock();
  for (const auto& [i, entry] : to_write) {
    const absl::Status written = WriteOut(entry);
    if (written.ok()) continue;
    results[i] = {absl::IsResourceExhausted(written) ? PutOutcome::kNoSpace : PutOutcome::kIoError,
                  std::string(written.message())};
  }
}

void LocalStore::BeginWriteLocked(BlockEntry* entry) {
  entry->writing = true;
  index_.Pin(entry);
  ++pending_blocks_;
  pending_bytes_ += entry->size;
}

void LocalStore::WriterLoop() {
  Lock lock(mu_);
  for (;;) {
    work_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (queue_.empty()) return;
    BlockEntry* entry = queue_.front();
    queue_.pop_front();
    lock.unlock();
    if (absl::Status s = WriteOut(entry); !s.ok()) WarnOfFailedWrite(s);
    lock.lock();
  }
}

// Ends what BeginWriteLocked began. The entry may be gone afterwards.
absl::Status LocalStore::WriteOut(BlockEntry* entry) {
  BlockBytes bytes;
  {
    Lock lock(mu_);
    if (!entry->doomed) bytes = entry->memory;
  }
  absl::Status status;
  Extents extents;
  if (bytes != nullptr) {
    absl::StatusOr<Extents> allocated = AllocateOnDisk(bytes->size());
    status = allocated.status();
    if (allocated.ok()) {
      extents = *std::move(allocated);
      status = disk_->WriteBytes(extents, bytes->bytes());
    }
    bytes = nullptr;
  }
  Lock disk_lock(disk_mu_);
  if (status.ok()) status = CommitDisk(entry, extents);
  if (!extents.empty()) disk_->Free(extents);
  if (!status.ok()) EraseRowsDisk({entry->name});  // its intent: the block is not going to be written
  Lock lock(mu_);
  entry->writing = false;
  --pending_blocks_;
  pending_bytes_ -= entry->size;
  if (!status.ok()) ++failed_writes_;
  if (!options_.keep_in_memory && !entry->doomed) {
    index_.TakeMemory(entry);
    if (entry->disk.empty()) {
      absences_.Record(entry->name, AbsenceReason::kEvicted);
      index_.SetDoomed(entry, true);
    }
  }
  UnpinLocked(entry);
  progress_.notify_all();
  return status;
}

// Takes over `extents` when the block is on disk afterwards.
absl::Status LocalStore::CommitDisk(BlockEntry* entry, Extents& extents) {
  BlockRow row;
  {
    Lock lock(mu_);
    if (entry->doomed || extents.empty()) return absl::OkStatus();  // deleted in the meantime
    row = {entry->name, entry->ParentKey(), entry->block_index, entry->size, entry->header_xxh3, 0, extents};
  }
  if (absl::Status s = disk_->Commit(row); !s.ok()) return s;
  Lock lock(mu_);
  index_.SetDisk(entry, std::exchange(extents, {}));
  return absl::OkStatus();
}

absl::StatusOr<Extents> LocalStore::AllocateOnDisk(uint64_t bytes) {
  Lock disk_lock(disk_mu_);
  FreeGraveyardDisk();
  for (;;) {
    absl::StatusOr<Extents> extents = disk_->Allocate(bytes);
    if (extents.ok() || bytes > disk_->capacity_bytes()) return extents;
    BlockEntry* victim = nullptr;
    {
      Lock lock(mu_);
      EndExpiredLeasesLocked();
      victim = index_.DiskVictim();
      if (victim == nullptr) {
        return absl::ResourceExhaustedError(
            absl::StrCat(extents.status().message(),
                         ", and nothing there can be evicted: what is there is leased, or has children that are not "
                         "there"));
      }
      index_.Pin(victim);
    }
    // The row first: where it cannot be removed nothing can be written either, and the block had better stay.
    const BlockName names[] = {victim->name};
    const absl::Status erased = disk_->Erase(names, MetadataDb::Survives::kProcess);
    {
      Lock lock(mu_);
      if (erased.ok()) {
        ++evicted_;
        absences_.Record(victim->name, AbsenceReason::kEvicted);
        index_.SetDoomed(victim, true);  // it stays readable for those who leased it just now
      }
      UnpinLocked(victim);
    }
    if (!erased.ok()) return erased;
    FreeGraveyardDisk();
  }
}

void LocalStore::FreeGraveyardDisk() {
  std::vector<Extents> freed;
  {
    Lock lock(mu_);
    freed.swap(graveyard_);
  }
  for (const Extents& extents : freed) disk_->Free(extents);
}

void LocalStore::EraseRowsDisk(const std::vector<BlockName>& names, MetadataDb::Survives survives) {
  if (disk_ == nullptr) return;
  // A row that stays behind points at bytes that fail the check of its header: never served, only found late.
  if (absl::Status s = disk_->Erase(names, survives); !s.ok()) WarnOfFailedWrite(s);
}

void LocalStore::WarnOfFailedWrite(const absl::Status& status) {
  bool warn = false;
  {
    Lock lock(mu_);
    last_write_error_ = status;
    const auto now = std::chrono::steady_clock::now();
    warn = now >= next_warning_;
    if (warn) next_warning_ = now + kWarningInterval;
  }
  if (warn) {
    LogWarning(absl::StrCat("could not write to disk: ", status.message(),
                            "; blocks stay in memory while there is room"));
  }
}

absl::StatusOr<BlockBytes> LocalStore::ReadFromDisk(BlockEntry* entry) {
  Extents where;
  {
    Lock lock(mu_);
    where = entry->disk;
  }
  absl::StatusOr<std::shared_ptr<BlockBuffer>> buffer = AllocateLeaving(entry->size, 0);
  if (!buffer.ok()) return buffer.status();
  absl::Status status = disk_->ReadBytes(where, (*buffer)->writable());
  if (status.ok()) status = CheckStoredBlock((*buffer)->bytes(), entry->header_xxh3);
  if (status.ok()) return BlockBytes(*std::move(buffer));
  // Dropped in either case: a block that cannot be read would only keep a good copy from being stored.
  DropCorrupt(entry, where);
  const std::string text = absl::StrCat("block ", entry->name.key.ToHex(), ": ", status.message());
  LogWarning(absl::StrCat(text, "; dropped"));
  return absl::Status(status.code(), text);
}

void LocalStore::DropCorrupt(BlockEntry* entry, const Extents& where) {
  Lock disk_lock(disk_mu_);
  {
    Lock lock(mu_);
    if (entry->doomed || entry->disk != where) return;  // dropped by another reader, and perhaps stored anew
    ++corrupt_;
    absences_.Record(entry->name, AbsenceReason::kCorrupt);
    index_.SetDoomed(entry, true);
  }
  EraseRowsDisk({entry->name});
}

}  // namespace polarkv
