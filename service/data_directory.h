// A server's data directory: one server at a time, of a version that this program reads.
//
//   VERSION      the version of everything below, one number
//   LOCK         held by the running server, names its process
//   index/       MetadataDb: namespaces, the index of blocks, settings
//   blocks.dat   the blocks' bytes
#ifndef POLARKV_SERVICE_DATA_DIRECTORY_H_
#define POLARKV_SERVICE_DATA_DIRECTORY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "service/metadata_db.h"

namespace polarkv {

inline constexpr int kDataVersion = 1;

class DataDirectory {
 public:
  // Creates the directory when there is none. FAILED_PRECONDITION: another server uses it, a newer version wrote it, or
  // it is not a data directory. PERMISSION_DENIED: it cannot be written. Else as MetadataDb::Open.
  static absl::StatusOr<std::unique_ptr<DataDirectory>> Open(const std::string& path);
  ~DataDirectory();
  DataDirectory(const DataDirectory&) = delete;
  DataDirectory& operator=(const DataDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string BlockFilePath() const { return path_ + "/blocks.dat"; }
  MetadataDb& db() { return *db_; }

 private:
  DataDirectory(std::string path, int lock_fd, std::unique_ptr<MetadataDb> db);

  const std::string path_;
  const int lock_fd_;
  std::unique_ptr<MetadataDb> db_;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_DATA_DIRECTORY_H_
