#include "service/metadata_db.h"

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <chrono>
#include <cstdarg>
#include <utility>

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

rocksdb::Slice ToSlice(std::string_view text) { return {text.data(), text.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status FromRocks(const rocksdb::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat("index: ", status.ToString());
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(text);
  if (status.IsCorruption()) return absl::DataLossError(text);
  return absl::UnavailableError(text);
}

// RocksDB's own log file stops the whole program when the disk is full (an assertion that Debian's build keeps), and
// whatever matters comes back as a status.
class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

// One for all tables, and never destroyed: RocksDB's own threads outlive a table and log last words about it.
std::shared_ptr<rocksdb::Logger> TheNoLog() {
  static const auto* const log = new std::shared_ptr<rocksdb::Logger>(std::make_shared<NoLog>());
  return *log;
}

// Recovery from a full disk happens where the next write finds it (Write), not in a thread that races with it.
class NoAutomaticRecovery final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* automatic) override {
    *automatic = false;
  }
};

// Rows are small and few bytes in all: small buffers, no compression, a short log.
rocksdb::Options TableOptions() {
  rocksdb::BlockBasedTableOptions table;
  table.checksum = rocksdb::kXXH3;
  table.cache_index_and_filter_blocks = true;
  table.block_cache = rocksdb::NewLRUCache(4 * kMiB);
  rocksdb::Options options;
  options.create_if_missing = true;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.compression = rocksdb::kNoCompression;
  options.write_buffer_size = 4 * kMiB;
  options.max_write_buffer_number = 2;
  options.max_total_wal_size = 8 * kMiB;
  options.max_manifest_file_size = 4 * kMiB;
  options.max_background_jobs = 2;
  options.max_open_files = 256;
  options.allow_fallocate = false;  // it would reserve more than a small budget has
  options.info_log = TheNoLog();
  options.listeners.push_back(std::make_shared<NoAutomaticRecovery>());
  return options;
}

}  // namespace

class MetadataDb::Impl {
 public:
  explicit Impl(std::unique_ptr<rocksdb::DB> db) : db_(std::move(db)) {}
  ~Impl() { db_->Close().PermitUncheckedError(); }
  rocksdb::DB& db() { return *db_; }

  // After a failed write RocksDB refuses all others until it is told that the cause may be gone. Which is costly, so it
  // is not tried at every write.
  bool Resume() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    if (now < next_resume_.load()) return false;
    if (db_->Resume().ok()) return true;
    next_resume_ = now + kResumePause;
    return false;
  }

 private:
  static constexpr std::chrono::seconds kResumePause{1};
  std::atomic<std::chrono::steady_clock::duration> next_resume_{};
  std::unique_ptr<rocksdb::DB> db_;
};

MetadataDb::MetadataDb(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetadataDb::~MetadataDb() = default;

absl::StatusOr<std::unique_ptr<MetadataDb>> MetadataDb::Open(const std::string& directory) {
  rocksdb::DB* db = nullptr;
  if (const rocksdb::Status status = rocksdb::DB::Open(TableOptions(), directory, &db); !status.ok()) {
    return FromRocks(status);
  }
  return std::unique_ptr<MetadataDb>(new MetadataDb(std::make_unique<Impl>(std::unique_ptr<rocksdb::DB>(db))));
}

absl::Status MetadataDb::Write(std::span<const Change> changes, Survives survives) {
  rocksdb::WriteOptions options;
  options.sync = survives == Survives::kPower;
  options.protection_bytes_per_key = 8;
  rocksdb::WriteBatch batch(0, 0, options.protection_bytes_per_key, 0);
  for (const Change& change : changes) {
    const rocksdb::Status status =
        change.value.has_value() ? batch.Put(change.key, *change.value) : batch.Delete(change.key);
    if (!status.ok()) return FromRocks(status);
  }
  rocksdb::Status status = impl_->db().Write(options, &batch);
  if (!status.ok() && impl_->Resume()) status = impl_->db().Write(options, &batch);
  return FromRocks(status);
}

absl::StatusOr<std::optional<std::string>> MetadataDb::Read(std::string_view key) const {
  std::string value;
  const rocksdb::Status status = impl_->db().Get({}, ToSlice(key), &value);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) return FromRocks(status);
  return std::optional<std::string>(std::move(value));
}

absl::Status MetadataDb::Scan(std::string_view prefix,
                              const std::function<void(std::string_view key, std::string_view value)>& visit) const {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> row(impl_->db().NewIterator(options));
  for (row->Seek(ToSlice(prefix)); row->Valid() && row->key().starts_with(ToSlice(prefix)); row->Next()) {
    visit(ToView(row->key()), ToView(row->value()));
  }
  return FromRocks(row->status());
}

}  // namespace polarkv
