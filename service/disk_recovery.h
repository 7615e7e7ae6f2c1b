// What a data directory holds after its server ended, in whatever way.
#ifndef POLARKV_SERVICE_DISK_RECOVERY_H_
#define POLARKV_SERVICE_DISK_RECOVERY_H_

#include <cstdint>
#include <set>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "service/disk_tier.h"

namespace polarkv {

// Settings: blocks up to this sequence survived a loss of power; whether the directory was closed properly.
inline constexpr std::string_view kDurableSequence = "m.durable_sequence";
inline constexpr std::string_view kClosedCleanly = "m.closed_cleanly";

// Reads the index, drops what is not intact or does not fit, and reserves the space of the rest. After a proper close
// the index is believed; after a crash the bytes of every block that was not known to be durable are read and checked.
// Damage that this does not find is found when the block is read.
class DiskRecovery {
 public:
  DiskRecovery(MetadataDb& db, const BlockFile& file, ExtentAllocator& allocator, uint64_t max_blocks)
      : db_(db), file_(file), allocator_(allocator), max_blocks_(max_blocks) {}

  absl::Status Run(const std::set<NamespaceId>& namespaces);
  DiskTier::Recovered TakeResult() { return std::move(result_); }
  // No sequence up to this one may be given again.
  uint64_t last_sequence() const { return last_sequence_; }

 private:
  absl::Status ReadSettings();
  absl::Status ReadRows(const std::set<NamespaceId>& namespaces);
  void KeepRows(std::vector<BlockRow> newest_first);
  void FindUnwritten();
  bool Intact(const BlockRow& row) const;
  void Drop(const BlockName& name, AbsenceReason reason);

  MetadataDb& db_;
  const BlockFile& file_;
  ExtentAllocator& allocator_;
  const uint64_t max_blocks_;
  uint64_t durable_sequence_ = 0;
  uint64_t last_sequence_ = 0;
  std::vector<BlockRow> rows_;
  std::vector<BlockName> intents_;
  std::vector<MetadataDb::Change> removals_;
  DiskTier::Recovered result_;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_DISK_RECOVERY_H_
