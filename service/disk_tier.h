// Blocks on disk: their bytes in one file, their index in a MetadataDb (STORAGE.md).
#ifndef POLARKV_SERVICE_DISK_TIER_H_
#define POLARKV_SERVICE_DISK_TIER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/block_file.h"
#include "service/block_row.h"
#include "service/data_directory.h"

namespace polarkv {

// The part of a disk budget that the index may use, and what else is in its table.
uint64_t IndexReserve(uint64_t budget);

struct DiskTierOptions {
  uint64_t budget = 0;                // bytes of the data directory, index included
  uint64_t max_blocks = UINT64_MAX;   // of the caller; the budget's own limit may be lower
  std::set<NamespaceId> namespaces;   // those that exist: blocks of others are dropped when the tier is opened
  std::function<absl::StatusOr<std::unique_ptr<BlockFile>>(const std::string& path)> open_file = OpenBlockFile;
};

// What was found when the tier was opened.
struct RecoveryReport {
  bool closed_cleanly = true;
  uint64_t blocks = 0;
  uint64_t bytes = 0;
  uint64_t unwritten_blocks = 0;  // lost: acknowledged, not yet on disk when the server died
  uint64_t damaged_blocks = 0;    // lost: not intact
  uint64_t evicted_blocks = 0;    // given up, since the budget is smaller than it was
};

// "Index section" marks what the caller lets in one thread at a time. Statuses as in BlockFile and MetadataDb.
class DiskTier {
 public:
  struct Absence {
    BlockName name;
    AbsenceReason reason;
  };
  struct Recovered {
    std::vector<BlockRow> rows;  // oldest first
    std::vector<Absence> absences;
    RecoveryReport report;
  };

  static absl::StatusOr<std::unique_ptr<DiskTier>> Open(DataDirectory& directory, const DiskTierOptions& options,
                                                        Recovered& recovered);
  ~DiskTier();

  // Index section. RESOURCE_EXHAUSTED: the budget or the disk is used up; free something and try again.
  absl::StatusOr<Extents> Allocate(uint64_t bytes);
  // Index section. What was freed is given out again: the block's row must be gone by then.
  void Free(const Extents& extents);
  // Index section. Makes a written block part of the index; ends its intent. Sets the row's sequence.
  absl::Status Commit(BlockRow row);
  // Index section. Removes rows and intents.
  absl::Status Erase(std::span<const BlockName> names, MetadataDb::Survives survives);
  // Index section. Notes blocks that are acknowledged before they are written.
  absl::Status NoteIntents(std::span<const BlockName> names);

  // Any thread.
  absl::Status WriteBytes(const Extents& extents, std::span<const uint8_t> bytes);
  absl::Status ReadBytes(const Extents& extents, std::span<uint8_t> bytes) const;
  // Everything committed before survives a loss of power.
  absl::Status Sync();
  // Sync, and a note that nothing needs to be checked at the next start. Nothing may be written afterwards.
  absl::Status CloseCleanly();

  uint64_t used_bytes() const { return used_units_ * kExtentBytes; }
  uint64_t capacity_bytes() const { return limit_units_ * kExtentBytes; }
  uint64_t max_blocks() const { return max_blocks_; }

 private:
  DiskTier(MetadataDb& db, std::unique_ptr<BlockFile> file, const DiskTierOptions& options);
  absl::Status Recover(const DiskTierOptions& options, Recovered& recovered);
  absl::Status Grow(uint64_t wanted_units);
  absl::Status GrowBy(uint64_t units);
  absl::Status WriteMark(uint64_t sequence, bool closed_cleanly);

  MetadataDb& db_;
  const std::unique_ptr<BlockFile> file_;
  const uint64_t index_reserve_;  // bytes of the budget, and of the disk, that the block file leaves to the index
  const uint64_t limit_units_;
  const uint64_t max_blocks_;
  ExtentAllocator allocator_;
  std::atomic<uint64_t> used_units_{0};
  std::atomic<uint64_t> last_sequence_{0};    // committed
  std::atomic<uint64_t> synced_sequence_{0};  // survives a loss of power
  std::chrono::steady_clock::time_point grow_again_{};  // after the disk was found full
  absl::Status grow_error_;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_DISK_TIER_H_
