// A small ordered table of byte strings with a write-ahead log: the index, the namespaces and the settings of a data
// directory. RocksDB inside; metadata_db.cc is the only file that knows.
#ifndef POLARKV_SERVICE_METADATA_DB_H_
#define POLARKV_SERVICE_METADATA_DB_H_

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace polarkv {

// Thread-safe. Statuses: RESOURCE_EXHAUSTED (the disk is full), DATA_LOSS (stored bytes fail their checksum), UNAVAILABLE
// (any other I/O error).
class MetadataDb {
 public:
  struct Change {
    std::string key;
    std::optional<std::string> value;  // nullopt: remove the key
  };
  // kProcess: survives the death of this process; kPower: also of the machine.
  enum class Survives { kProcess, kPower };

  // Creates the table in the directory when there is none.
  static absl::StatusOr<std::unique_ptr<MetadataDb>> Open(const std::string& directory);
  ~MetadataDb();
  MetadataDb(const MetadataDb&) = delete;
  MetadataDb& operator=(const MetadataDb&) = delete;

  // All changes or none.
  absl::Status Write(std::span<const Change> changes, Survives survives);
  // nullopt: no such key.
  absl::StatusOr<std::optional<std::string>> Read(std::string_view key) const;
  // Visits the rows whose key begins with `prefix`, in key order.
  absl::Status Scan(std::string_view prefix,
                    const std::function<void(std::string_view key, std::string_view value)>& visit) const;

 private:
  class Impl;
  explicit MetadataDb(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_METADATA_DB_H_
