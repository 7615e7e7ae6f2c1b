#include "service/disk_tier.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "service/disk_recovery.h"
#include "service/log.h"

namespace polarkv {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGrowthUnits = 64 * kMiB / kExtentBytes;
// A row of the index with its share of what RocksDB has not compacted yet. A row is about 150 bytes.
constexpr uint64_t kRowBytes = 512;
constexpr std::chrono::seconds kFullDiskPause{1};

}  // namespace

uint64_t IndexReserve(uint64_t budget) { return std::max(std::min(64 * kMiB, budget / 8), budget / 128); }

DiskTier::DiskTier(MetadataDb& db, std::unique_ptr<BlockFile> file, const DiskTierOptions& options)
    : db_(db),
      file_(std::move(file)),
      index_reserve_(IndexReserve(options.budget)),
      limit_units_(std::min<uint64_t>((options.budget - index_reserve_) / kExtentBytes, UINT32_MAX)),
      max_blocks_(std::min(options.max_blocks, index_reserve_ / kRowBytes)) {}

DiskTier::~DiskTier() = default;

absl::StatusOr<std::unique_ptr<DiskTier>> DiskTier::Open(DataDirectory& directory, const DiskTierOptions& options,
                                                         Recovered& recovered) {
  absl::StatusOr<std::unique_ptr<BlockFile>> file = options.open_file(directory.BlockFilePath());
  if (!file.ok()) return file.status();
  std::unique_ptr<DiskTier> tier(new DiskTier(directory.db(), *std::move(file), options));
  if (absl::Status s = tier->Recover(options, recovered); !s.ok()) return s;
  return tier;
}

absl::Status DiskTier::Recover(const DiskTierOptions& options, Recovered& recovered) {
  allocator_.Grow(std::min(file_->size() / kExtentBytes, limit_units_));
  DiskRecovery recovery(db_, *file_, allocator_, max_blocks_);
  if (absl::Status s = recovery.Run(options.namespaces); !s.ok()) return s;
  // Only now that no row speaks of it any more.
  if (file_->size() > limit_units_ * kExtentBytes) {
    if (absl::Status s = file_->Resize(limit_units_ * kExtentBytes); !s.ok()) return s;
  }
  recovered = recovery.TakeResult();
  last_sequence_ = synced_sequence_ = recovery.last_sequence();
  used_units_ = allocator_.total_units() - allocator_.free_units();
  return WriteMark(last_sequence_, false);
}

absl::StatusOr<Extents> DiskTier::Allocate(uint64_t bytes) {
  const uint64_t units = ExtentUnits(bytes);
  if (units > limit_units_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a block of ", bytes, " bytes is larger than the disk budget leaves room for (",
                     limit_units_ * kExtentBytes, " bytes)"));
  }
  if (allocator_.free_units() < units) {
    if (absl::Status s = Grow(units - allocator_.free_units()); !s.ok()) return s;
  }
  Extents extents = allocator_.Allocate(units);
  used_units_ += units;
  return extents;
}

absl::Status DiskTier::Grow(uint64_t wanted_units) {
  const uint64_t room = limit_units_ - allocator_.total_units();
  if (room < wanted_units) return absl::ResourceExhaustedError("the disk budget is used up");
  const auto now = std::chrono::steady_clock::now();
  if (now < grow_again_) return grow_error_;
  // Where a large step does not fit a small one may.
  absl::Status grown = GrowBy(std::min(room, std::max(wanted_units, kGrowthUnits)));
  if (!grown.ok()) grown = GrowBy(wanted_units);
  if (!grown.ok()) {
    if (grow_error_.ok()) {
      LogWarning(absl::StrCat(grown.message(), "; going on with the ", allocator_.total_units() * kExtentBytes,
                              " bytes that the block file has"));
    }
    grow_again_ = now + kFullDiskPause;
  }
  return grow_error_ = grown;
}

absl::Status DiskTier::GrowBy(uint64_t units) {
  const uint64_t bytes = units * kExtentBytes;
  if (const uint64_t left = file_->SpaceLeft(); left < bytes + index_reserve_) {
    return absl::ResourceExhaustedError(absl::StrCat("No space left on device: the block file wants to grow by ", bytes,
                                                     " bytes and to leave ", index_reserve_,
                                                     " to its index, and the disk has ", left));
  }
  if (absl::Status s = file_->Resize((allocator_.total_units() + units) * kExtentBytes); !s.ok()) return s;
  allocator_.Grow(units);
  return absl::OkStatus();
}

void DiskTier::Free(const Extents& extents) {
  allocator_.Free(extents);
  used_units_ -= TotalUnits(extents);
}

absl::Status DiskTier::Commit(BlockRow row) {
  row.sequence = last_sequence_ + 1;
  const MetadataDb::Change changes[] = {{BlockRowKey(row.name), EncodeBlockRow(row)},
                                        {IntentRowKey(row.name), std::nullopt}};
  if (absl::Status s = db_.Write(changes, MetadataDb::Survives::kProcess); !s.ok()) return s;
  last_sequence_ = row.sequence;
  return absl::OkStatus();
}

absl::Status DiskTier::Erase(std::span<const BlockName> names, MetadataDb::Survives survives) {
  if (names.empty()) return absl::OkStatus();
  std::vector<MetadataDb::Change> changes;
  for (const BlockName& name : names) {
    changes.push_back({BlockRowKey(name), std::nullopt});
    changes.push_back({IntentRowKey(name), std::nullopt});
  }
  return db_.Write(changes, survives);
}

absl::Status DiskTier::NoteIntents(std::span<const BlockName> names) {
  if (names.empty()) return absl::OkStatus();
  std::vector<MetadataDb::Change> changes;
  for (const BlockName& name : names) changes.push_back({IntentRowKey(name), std::string()});
  return db_.Write(changes, MetadataDb::Survives::kProcess);
}

absl::Status DiskTier::WriteBytes(const Extents& extents, std::span<const uint8_t> bytes) {
  for (const ExtentRun& run : extents) {
    const uint64_t length = std::min<uint64_t>(bytes.size(), run.units * kExtentBytes);
    if (absl::Status s = file_->Write(run.begin * kExtentBytes, bytes.first(length)); !s.ok()) return s;
    bytes = bytes.subspan(length);
  }
  return absl::OkStatus();
}

absl::Status DiskTier::ReadBytes(const Extents& extents, std::span<uint8_t> bytes) const {
  for (const ExtentRun& run : extents) {
    const uint64_t length = std::min<uint64_t>(bytes.size(), run.units * kExtentBytes);
    if (absl::Status s = file_->Read(run.begin * kExtentBytes, bytes.first(length)); !s.ok()) return s;
    bytes = bytes.subspan(length);
  }
  return absl::OkStatus();
}

absl::Status DiskTier::WriteMark(uint64_t sequence, bool closed_cleanly) {
  const MetadataDb::Change changes[] = {{std::string(kDurableSequence), EncodeNumber(sequence)},
                                        {std::string(kClosedCleanly), EncodeNumber(closed_cleanly ? 1 : 0)}};
  return db_.Write(changes, MetadataDb::Survives::kPower);
}

absl::Status DiskTier::Sync() {
  const uint64_t sequence = last_sequence_;
  if (sequence == synced_sequence_) return absl::OkStatus();
  if (absl::Status s = file_->Sync(); !s.ok()) return s;
  if (absl::Status s = WriteMark(sequence, false); !s.ok()) return s;
  synced_sequence_ = sequence;
  return absl::OkStatus();
}

absl::Status DiskTier::CloseCleanly() {
  if (absl::Status s = file_->Sync(); !s.ok()) return s;
  return WriteMark(last_sequence_, true);
}

}  // namespace polarkv
