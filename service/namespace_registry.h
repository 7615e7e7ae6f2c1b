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
#include "codec/key_mean_profile.h"
#include "codec/namespace_descriptor.h"
#include "service/block_store.h"
#include "service/metadata_db.h"

namespace polarkv {

struct KnownNamespace {
  NamespaceId id = 0;
  NamespaceDescriptor descriptor;
  Fingerprint fingerprint{};
  uint64_t largest_block_bytes = 0;  // that any of its blocks may have
  // Null: the descriptor names none, or what was stored of it is damaged and has to come again.
  KeyMeanProfilePtr profile;
};
using NamespacePtr = std::shared_ptr<const KnownNamespace>;

// Thread-safe.
class NamespaceRegistry {
 public:
  // `db` may be null: nothing is kept. It must outlive the registry. `max_profile_bytes`: of all namespaces' profiles
  // together, which are in memory all the time. DATA_LOSS: a stored descriptor cannot be read.
  static absl::StatusOr<std::unique_ptr<NamespaceRegistry>> Open(MetadataDb* db, size_t max_namespaces,
                                                                 uint64_t max_profile_bytes = kMaxProfileBytes);

  struct Opened {
    NamespacePtr ns;
    bool created = false;
  };
  // `profile`: the one that the descriptor names, or null. INVALID_ARGUMENT: as ValidateNamespaceDescriptor, and as
  // CheckProfileBelongs. FAILED_PRECONDITION: the name is known with another descriptor, the message names the first field
  // that differs; or the profile is not known here and was not given. RESOURCE_EXHAUSTED: as many namespaces are open as
  // may be, or profiles have as many bytes. Else as MetadataDb::Write.
  absl::StatusOr<Opened> OpenNamespace(const NamespaceDescriptor& descriptor, KeyMeanProfilePtr profile = nullptr);
  // NOT_FOUND.
  absl::StatusOr<NamespacePtr> Find(const Fingerprint& fingerprint) const;
  // Forgets it. NOT_FOUND; else as MetadataDb::Write.
  absl::StatusOr<NamespacePtr> Remove(const Fingerprint& fingerprint);

  std::vector<NamespacePtr> List() const;  // by name
  std::set<NamespaceId> Ids() const;
  size_t size() const;
  uint64_t profile_bytes() const;

 private:
  NamespaceRegistry(MetadataDb* db, size_t max_namespaces, uint64_t max_profile_bytes)
      : db_(db), max_namespaces_(max_namespaces), max_profile_bytes_(max_profile_bytes) {}
  absl::Status Load();
  KeyMeanProfilePtr LoadProfile(NamespaceId id, const NamespaceDescriptor& descriptor) const;
  absl::Status Add(NamespaceId id, const NamespaceDescriptor& descriptor, KeyMeanProfilePtr profile);
  // Of a profile that is to be added.
  absl::Status CheckProfile(const NamespaceDescriptor& descriptor, const KeyMeanProfilePtr& profile) const;
  absl::StatusOr<Opened> OpenKnown(const NamespacePtr& known, KeyMeanProfilePtr profile);

  MetadataDb* const db_;
  const size_t max_namespaces_;
  const uint64_t max_profile_bytes_;
  mutable std::mutex mu_;
  std::map<std::string, NamespacePtr> by_name_;
  std::map<Fingerprint, NamespacePtr> by_fingerprint_;
  NamespaceId next_id_ = 1;
  uint64_t profile_bytes_ = 0;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_NAMESPACE_REGISTRY_H_
