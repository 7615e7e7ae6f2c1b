#include "service/disk_recovery.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "service/stored_block_check.h"

namespace polarkv {
namespace {

absl::StatusOr<std::optional<uint64_t>> ReadNumber(const MetadataDb& db, std::string_view key) {
  absl::StatusOr<std::optional<std::string>> value = db.Read(key);
  if (!value.ok()) return value.status();
  if (!value->has_value()) return std::nullopt;
  return ParseNumber(**value);
}

uint64_t LastUnit(const BlockRow& row) {
  uint64_t last = 0;
  for (const ExtentRun& run : row.extents) last = std::max(last, uint64_t{run.begin} + run.units);
  return last;
}

}  // namespace

absl::Status DiskRecovery::Run(const std::set<NamespaceId>& namespaces) {
  if (absl::Status s = ReadSettings(); !s.ok()) return s;
  if (absl::Status s = ReadRows(namespaces); !s.ok()) return s;
  // Where two rows claim the same space, the later one has overwritten the earlier one's bytes.
  std::ranges::sort(rows_, [](const BlockRow& a, const BlockRow& b) { return a.sequence > b.sequence; });
  last_sequence_ = std::max(durable_sequence_, rows_.empty() ? 0 : rows_.front().sequence);
  KeepRows(std::move(rows_));
  FindUnwritten();
  return db_.Write(removals_, MetadataDb::Survives::kProcess);
}

absl::Status DiskRecovery::ReadSettings() {
  const absl::StatusOr<std::optional<uint64_t>> durable = ReadNumber(db_, kDurableSequence);
  if (!durable.ok()) return durable.status();
  const absl::StatusOr<std::optional<uint64_t>> clean = ReadNumber(db_, kClosedCleanly);
  if (!clean.ok()) return clean.status();
  durable_sequence_ = durable->value_or(0);
  result_.report.closed_cleanly = clean->value_or(1) == 1;
  return absl::OkStatus();
}

absl::Status DiskRecovery::ReadRows(const std::set<NamespaceId>& namespaces) {
  absl::Status status = db_.Scan(kBlockRows, [&](std::string_view key, std::string_view value) {
    const std::optional<BlockName> name = ParseBlockRowKey(key);
    if (!name.has_value() || !namespaces.contains(name->ns)) {
      removals_.push_back({std::string(key), std::nullopt});
      return;
    }
    std::optional<BlockRow> row = ParseBlockRow(*name, value);
    if (row.has_value()) {
      rows_.push_back(*std::move(row));
    } else {
      Drop(*name, AbsenceReason::kCorrupt);
    }
  });
  if (!status.ok()) return status;
  return db_.Scan(kIntentRows, [&](std::string_view key, std::string_view) {
    removals_.push_back({std::string(key), std::nullopt});
    const std::optional<BlockName> name = ParseBlockRowKey(key);
    if (name.has_value() && namespaces.contains(name->ns)) intents_.push_back(*name);
  });
}

void DiskRecovery::KeepRows(std::vector<BlockRow> newest_first) {
  for (BlockRow& row : newest_first) {
    const bool fits = LastUnit(row) <= allocator_.total_units();
    if (!fits && LastUnit(row) * kExtentBytes > file_.size()) {
      Drop(row.name, AbsenceReason::kCorrupt);  // the file was cut
    } else if (!fits || result_.rows.size() >= max_blocks_) {
      Drop(row.name, AbsenceReason::kEvicted);
    } else if (!Intact(row) || !allocator_.Reserve(row.extents)) {
      Drop(row.name, AbsenceReason::kCorrupt);
    } else {
      ++result_.report.blocks;
      result_.report.bytes += row.size;
      result_.rows.push_back(std::move(row));
    }
  }
  std::ranges::reverse(result_.rows);
}

// An intent ends in the same write that commits its block, so one that is left over tells of a block that was lost.
void DiskRecovery::FindUnwritten() {
  std::unordered_set<BlockName, absl::Hash<BlockName>> here;
  for (const BlockRow& row : result_.rows) here.insert(row.name);
  for (const DiskTier::Absence& absence : result_.absences) here.insert(absence.name);
  for (const BlockName& name : intents_) {
    if (!here.contains(name)) Drop(name, AbsenceReason::kLostAtRestart);
  }
}

bool DiskRecovery::Intact(const BlockRow& row) const {
  if (result_.report.closed_cleanly || row.sequence <= durable_sequence_) return true;
  std::vector<uint64_t> buffer((row.size + 7) / 8);  // aligned as a block must be
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(buffer.data()), row.size);
  std::span<uint8_t> rest = bytes;
  for (const ExtentRun& run : row.extents) {
    const uint64_t length = std::min<uint64_t>(rest.size(), run.units * kExtentBytes);
    if (!file_.Read(run.begin * kExtentBytes, rest.first(length)).ok()) return false;
    rest = rest.subspan(length);
  }
  return CheckStoredBlock(bytes, row.header_xxh3).ok();
}

void DiskRecovery::Drop(const BlockName& name, AbsenceReason reason) {
  removals_.push_back({BlockRowKey(name), std::nullopt});
  result_.absences.push_back({name, reason});
  RecoveryReport& report = result_.report;
  if (reason == AbsenceReason::kEvicted) ++report.evicted_blocks;
  if (reason == AbsenceReason::kCorrupt) ++report.damaged_blocks;
  if (reason == AbsenceReason::kLostAtRestart) ++report.unwritten_blocks;
}

}  // namespace polarkv
