// The namespaces that this node knows, kept in the data directory when there is one.
#ifndef POLARKV_SERVICE_NAMESPACE_REGISTRY_H_
#define POLARKV_SERVICE_NAMESPACE_REGISTRY_H_

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/namespace_descriptor.h"
#include "service/block_store.h"
#include "service/metadata_db.h"

namespace polarkv {

struct KnownNamespace {
  NamespaceId id = 0;
  NamespaceDescriptor descriptor;
  Fingerprint fingerprint{};
  uint64_t largest_block_bytes = 0;  // that any of its blocks may have
};
using NamespacePtr = std::shared_ptr<const KnownNamespace>;

// Thread-safe.
class NamespaceRegistry {
 public:
  // `db` may be null: nothing is kept. It must outlive the registry. DATA_LOSS: a stored descriptor cannot be read.
  static absl::StatusOr<std::unique_ptr<NamespaceRegistry>> Open(MetadataDb* db, size_t max_namespaces);

  struct Opened {
    NamespacePtr ns;
    bool created = false;
  };
  // INVALID_ARGUMENT: as ValidateNamespaceDescriptor. FAILED_PRECONDITION: the name is known with another descriptor;
  // the message names the first field that differs. RESOURCE_EXHAUSTED: as many namespaces are open as may be. Else as
  // MetadataDb::Write.
  absl::StatusOr<Opened> OpenNamespace(const NamespaceDescriptor& descriptor);
  // NOT_FOUND.
  absl::StatusOr<NamespacePtr> Find(const Fingerprint& fingerprint) const;
  // Forgets it. NOT_FOUND; else as MetadataDb::Write.
  absl::StatusOr<NamespacePtr> Remove(const Fingerprint& fingerprint);

  std::vector<NamespacePtr> List() const;  // by name
  std::set<NamespaceId> Ids() const;
  size_t size() const;

 private:
  NamespaceRegistry(MetadataDb* db, size_t max_namespaces) : db_(db), max_namespaces_(max_namespaces) {}
  absl::Status Load();
  absl::Status Add(NamespaceId id, const NamespaceDescriptor& descriptor);

  MetadataDb* const db_;
  const size_t max_namespaces_;
  mutable std::mutex mu_;
  std::map<std::string, NamespacePtr> by_name_;
  std::map<Fingerprint, NamespacePtr> by_fingerprint_;
  NamespaceId next_id_ = 1;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_NAMESPACE_REGISTRY_H_
