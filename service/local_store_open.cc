// How a LocalStore opens, looks after itself, and closes.
#include <utility>

#include "absl/strings/str_cat.h"
#include "service/local_store.h"
#include "service/log.h"

namespace polarkv {
namespace {

constexpr uint64_t kLeastBudget = uint64_t{1} << 20;
constexpr std::chrono::milliseconds kMaintenanceInterval{100};

absl::Status TooSmall(absl::string_view what, uint64_t bytes) {
  return absl::InvalidArgumentError(
      absl::StrCat("the ", what, " budget of ", bytes, " bytes is too small; at least ", kLeastBudget, " bytes"));
}

}  // namespace

LocalStore::LocalStore(const LocalStoreOptions& options, std::shared_ptr<BlockArena> arena)
    : options_(options),
      arena_(std::move(arena)),
      max_pending_bytes_(options.max_pending_bytes != 0 ? options.max_pending_bytes : options.memory_budget / 4),
      leases_(options.max_lease_pins),
      absences_(options.absence_slots) {}

absl::StatusOr<std::unique_ptr<LocalStore>> LocalStore::Open(const LocalStoreOptions& options,
                                                             DataDirectory* directory,
                                                             const std::set<NamespaceId>& namespaces) {
  if (options.memory_budget < kLeastBudget) return TooSmall("memory", options.memory_budget);
  absl::StatusOr<std::shared_ptr<BlockArena>> arena = BlockArena::Make(options.memory_budget);
  if (!arena.ok()) return arena.status();
  std::unique_ptr<LocalStore> store(new LocalStore(options, *std::move(arena)));
  if (directory != nullptr) {
    if (options.disk_budget < kLeastBudget) return TooSmall("disk", options.disk_budget);
    if (absl::Status s = store->OpenDisk(*directory, namespaces); !s.ok()) return s;
    store->writer_ = std::thread([raw = store.get()] { raw->WriterLoop(); });
  }
  store->maintenance_ = std::thread([raw = store.get()] { raw->MaintenanceLoop(); });
  return store;
}

absl::Status LocalStore::OpenDisk(DataDirectory& directory, const std::set<NamespaceId>& namespaces) {
  DiskTierOptions options;
  options.budget = options_.disk_budget;
  options.max_blocks = options_.memory_budget / 2 / kEntryBytes;
  options.namespaces = namespaces;
  options.open_file = options_.open_file;
  DiskTier::Recovered recovered;
  absl::StatusOr<std::unique_ptr<DiskTier>> disk = DiskTier::Open(directory, options, recovered);
  if (!disk.ok()) return disk.status();
  disk_ = *std::move(disk);
  max_blocks_ = disk_->max_blocks();
  read_reserve_ = options_.memory_budget / 8;
  recovery_ = recovered.report;
  for (const DiskTier::Absence& absence : recovered.absences) absences_.Record(absence.name, absence.reason);
  AdoptRows(std::move(recovered.rows));
  return absl::OkStatus();
}

void LocalStore::AdoptRows(std::vector<BlockRow> rows) {
  std::vector<BlockName> misfits;
  for (BlockRow& row : rows) {
    absl::StatusOr<BlockEntry*> entry =
        index_.Insert(row.name, row.parent, row.block_index, row.size, row.header_xxh3);
    if (entry.ok() && arena_->TryChargeOther(kEntryBytes)) {
      index_.SetDisk(*entry, std::move(row.extents));
      continue;
    }
    if (entry.ok()) index_.Remove(*entry);
    misfits.push_back(row.name);
    graveyard_.push_back(std::move(row.extents));
  }
  Lock disk_lock(disk_mu_);
  EraseRowsDisk(misfits);
  FreeGraveyardDisk();
}

LocalStore::~LocalStore() {
  if (absl::Status s = Close(); !s.ok()) LogWarning(absl::StrCat("closing the store: ", s.message()));
}

absl::Status LocalStore::Close() {
  if (!maintenance_.joinable()) return absl::OkStatus();  // closed, or never opened
  {
    Lock lock(mu_);
    EndLeaseLocked(leases_.TakeExpired(LeaseTable::Clock::time_point::max()));
  }
  absl::Status status = Flush();
  {
    Lock lock(mu_);
    stop_ = true;
  }
  work_.notify_all();
  stopping_.notify_all();
  maintenance_.join();
  if (disk_ == nullptr) return status;
  writer_.join();
  status.Update(disk_->CloseCleanly());
  return status;
}

void LocalStore::WaitForWriter() {
  Lock lock(mu_);
  progress_.wait(lock, [this] { return pending_blocks_ == 0; });
}

absl::Status LocalStore::Flush() {
  if (disk_ == nullptr) return absl::OkStatus();
  WaitForWriter();
  {
    // Blocks that the disk did not take before: leases may have ended, space may have been made.
    Lock lock(mu_);
    index_.ForEach([this](BlockEntry* entry) {
      if (!entry->disk.empty() || entry->doomed || entry->writing) return;
      BeginWriteLocked(entry);
      queue_.push_back(entry);
    });
  }
  work_.notify_one();
  WaitForWriter();
  if (absl::Status s = disk_->Sync(); !s.ok()) return s;
  Lock lock(mu_);
  uint64_t unwritten = 0;
  index_.ForEach([&](const BlockEntry* entry) { unwritten += entry->disk.empty() && !entry->doomed; });
  if (unwritten == 0) return absl::OkStatus();
  return absl::Status(last_write_error_.code(), absl::StrCat(unwritten, " blocks are in memory alone: ",
                                                             last_write_error_.message()));
}

void LocalStore::MaintenanceLoop() {
  auto next_sync = std::chrono::steady_clock::now() + options_.sync_interval;
  Lock lock(mu_);
  while (!stopping_.wait_for(lock, kMaintenanceInterval, [this] { return stop_; })) {
    EndExpiredLeasesLocked();
    if (disk_ == nullptr || std::chrono::steady_clock::now() < next_sync) continue;
    lock.unlock();
    if (absl::Status s = disk_->Sync(); !s.ok()) WarnOfFailedWrite(s);
    next_sync = std::chrono::steady_clock::now() + options_.sync_interval;
    lock.lock();
  }
}

}  // namespace polarkv
