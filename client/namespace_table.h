// Which namespaces are known to be open on the node, the limits that the node gave for each, and their profiles.
#ifndef POLARKV_CLIENT_NAMESPACE_TABLE_H_
#define POLARKV_CLIENT_NAMESPACE_TABLE_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "codec/block_key.h"
#include "codec/key_mean_profile.h"
#include "polarkv/v1/kv_store.pb.h"

namespace polarkv {

// What one request to the node may hold; never 0.
struct NodeLimits {
  uint64_t block_bytes = 0;
  uint32_t keys_per_request = 0;
  uint32_t frame_bytes = 0;

  // The node's limits within the client's own; a limit that the node leaves at 0 is the client's.
  static NodeLimits From(const v1::OpenNamespaceResponse& response, uint32_t frame_bytes_wanted);
  friend bool operator==(const NodeLimits&, const NodeLimits&) = default;
};

// Thread-safe.
class NamespaceTable {
 public:
  std::optional<NodeLimits> Find(const Fingerprint& fingerprint) const;
  void Remember(const Fingerprint& fingerprint, const NodeLimits& limits);
  // The next call on this namespace opens it anew.
  void Forget(const Fingerprint& fingerprint);

  // Profiles are immutable, so that they are never forgotten: one for each namespace that was opened, at most.
  KeyMeanProfilePtr FindProfile(const ProfileDigest& digest) const;  // null: not known
  void RememberProfile(KeyMeanProfilePtr profile);

 private:
  mutable std::mutex mutex_;
  std::map<Fingerprint, NodeLimits> limits_;
  std::map<ProfileDigest, KeyMeanProfilePtr> profiles_;
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_NAMESPACE_TABLE_H_
