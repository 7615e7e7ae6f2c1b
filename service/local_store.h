// The blocks of this node: in memory, on disk, or in memory over disk. One index knows all of them, so that a prefix is
// matched, pinned and evicted the same way wherever its blocks are.
//
//   memory        LocalStore::Open(options, nullptr)
//   disk          ... with a data directory and keep_in_memory = false: memory is only passed through
//   tiered        ... with a data directory: blocks are written to disk in the background and stay in memory while there
//                 is room; what is read from disk is kept in memory again
#ifndef POLARKV_SERVICE_LOCAL_STORE_H_
#define POLARKV_SERVICE_LOCAL_STORE_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "service/absence_memory.h"
#include "service/block_index.h"
#include "service/block_store.h"
#include "service/disk_tier.h"
#include "service/lease_table.h"

namespace polarkv {

struct LocalStoreOptions {
  uint64_t memory_budget = uint64_t{1} << 30;
  uint64_t disk_budget = 0;
  bool keep_in_memory = true;
  // Blocks that may wait to be written before Put waits; 0: a quarter of the memory budget.
  uint64_t max_pending_bytes = 0;
  std::chrono::milliseconds max_wait{10000};     // of Put and Allocate, for writes to disk
  std::chrono::milliseconds max_lease{300000};
  std::chrono::milliseconds sync_interval{1000};
  size_t max_lease_pins = size_t{1} << 20;       // blocks under lease, counted once per lease
  size_t absence_slots = size_t{1} << 18;
  std::function<absl::StatusOr<std::unique_ptr<BlockFile>>(const std::string& path)> open_file = OpenBlockFile;
};

class LocalStore final : public BlockStore {
 public:
  // `directory` (null: no disk) must outlive the store; `namespaces` are those that exist. Statuses as DiskTier::Open;
  // INVALID_ARGUMENT: a budget is too small to be of use.
  static absl::StatusOr<std::unique_ptr<LocalStore>> Open(const LocalStoreOptions& options, DataDirectory* directory,
                                                          const std::set<NamespaceId>& namespaces);
  ~LocalStore() override;

  // Ends all leases, writes what is not on disk, and notes that nothing needs to be checked at the next start; the
  // destructor does it otherwise. Nobody may use the store meanwhile or afterwards. Statuses as Flush.
  absl::Status Close();

  const RecoveryReport& recovery() const { return recovery_; }

  absl::StatusOr<std::shared_ptr<BlockBuffer>> Allocate(uint64_t bytes) override;
  std::vector<PutResult> Put(NamespaceId ns, std::span<const PutItem> items) override;
  PrefixMatchResult MatchPrefix(NamespaceId ns, std::span<const BlockKey> keys,
                                std::chrono::milliseconds lease) override;
  std::vector<absl::StatusOr<BlockBytes>> Get(NamespaceId ns, std::span<const BlockKey> keys) override;
  std::vector<bool> Exists(NamespaceId ns, std::span<const BlockKey> keys) const override;
  BlockTotals Delete(NamespaceId ns, std::span<const BlockKey> keys) override;
  BlockTotals DeleteNamespace(NamespaceId ns) override;
  void ReleaseLease(uint64_t lease_id) override;
  BlockTotals Usage(NamespaceId ns) const override;
  BlockStoreStats Stats() const override;
  absl::Status Flush() override;

 private:
  // Two locks. disk_mu_ makes a change of the index and its row on disk one step; memory-only stores take it too. mu_
  // guards everything else and is never held during I/O. Order: disk_mu_, then mu_. "...Locked": mu_ is held. "...Disk":
  // disk_mu_ is held and mu_ is not.
  using Lock = std::unique_lock<std::mutex>;

  LocalStore(const LocalStoreOptions& options, std::shared_ptr<BlockArena> arena);
  absl::Status OpenDisk(DataDirectory& directory, const std::set<NamespaceId>& namespaces);
  void AdoptRows(std::vector<BlockRow> rows);

  // local_store.cc
  absl::StatusOr<std::shared_ptr<BlockBuffer>> AllocateLeaving(uint64_t bytes, uint64_t leave);
  std::shared_ptr<BlockBuffer> TryAllocateLocked(uint64_t bytes, uint64_t leave);
  bool EvictFromMemoryLocked();
  void VanishLocked(BlockEntry* entry, AbsenceReason reason);
  void UnpinLocked(BlockEntry* entry);
  void EndExpiredLeasesLocked();
  void EndLeaseLocked(const LeaseTable::Entries& entries);
  PutResult PutAgainLocked(BlockEntry* entry, const PutItem& item);
  PutResult InsertLocked(const BlockName& name, const PutItem& item, std::vector<BlockName>& evicted_rows);
  bool MakeRoomForEntryLocked(std::vector<BlockName>& evicted_rows);
  absl::StatusOr<BlockBytes> GetOne(const BlockName& name);
  BlockTotals DeleteNamed(std::span<const BlockName> names);

  // local_store_disk.cc
  absl::Status WaitForPendingWrites(uint64_t bytes);
  void NoteIntentsDisk(NamespaceId ns, std::span<const PutItem> items);
  void FinishPut(Lock disk_lock, std::span<BlockEntry* const> stored, std::vector<PutResult>& results);
  void BeginWriteLocked(BlockEntry* entry);
  absl::Status WriteOut(BlockEntry* entry);
  absl::StatusOr<Extents> AllocateOnDisk(uint64_t bytes);
  absl::Status CommitDisk(BlockEntry* entry, Extents& extents);
  void FreeGraveyardDisk();
  void EraseRowsDisk(const std::vector<BlockName>& names,
                     MetadataDb::Survives survives = MetadataDb::Survives::kProcess);
  void WarnOfFailedWrite(const absl::Status& status);
  absl::StatusOr<BlockBytes> ReadFromDisk(BlockEntry* entry);
  void DropCorrupt(BlockEntry* entry, const Extents& where);
  void WaitForWriter();
  void WriterLoop();
  void MaintenanceLoop();

  const LocalStoreOptions options_;
  const std::shared_ptr<BlockArena> arena_;
  const uint64_t max_pending_bytes_;
  // Memory that blocks being received may not use: a block on disk can always be read, or its lease would be worth nothing.
  uint64_t read_reserve_ = 0;
  std::unique_ptr<DiskTier> disk_;  // null: memory only
  RecoveryReport recovery_;
  uint64_t max_blocks_ = UINT64_MAX;

  std::mutex disk_mu_;
  mutable std::mutex mu_;
  std::condition_variable work_;      // the queue has an entry, or stop
  std::condition_variable progress_;  // a write ended
  std::condition_variable stopping_;
  BlockIndex index_;
  LeaseTable leases_;
  AbsenceMemory absences_;
  std::deque<BlockEntry*> queue_;     // for the writer; pinned
  // Space of blocks that vanished, waiting for disk_mu_ to be given back. Whoever fills it has erased the blocks' rows, or
  // does so before disk_mu_ is free again.
  std::vector<Extents> graveyard_;
  uint64_t pending_blocks_ = 0, pending_bytes_ = 0;  // queued or being written
  uint64_t evicted_ = 0, corrupt_ = 0, failed_writes_ = 0;
  absl::Status last_write_error_;
  std::chrono::steady_clock::time_point next_warning_{};
  bool stop_ = false;
  std::thread writer_, maintenance_;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_LOCAL_STORE_H_
