// The cache under test, as the load tester sees it.
#ifndef POLARKV_CLIENT_LOAD_PREFIX_CACHE_H_
#define POLARKV_CLIENT_LOAD_PREFIX_CACHE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/kv_client.h"

namespace polarkv::load {

// One namespace of one cache. Semantics and statuses as in client/kv_client.h. Thread-safe.
class PrefixCache {
 public:
  virtual ~PrefixCache() = default;
  // Takes a lease on what it reports.
  virtual absl::StatusOr<PrefixMatch> Match(std::span<const BlockKey> keys) = 0;
  // Whole blocks; ends `lease_id` unless it is 0.
  virtual absl::Status Fetch(std::span<const BlockKey> keys, std::span<FetchSlot> slots, uint64_t lease_id) = 0;
  virtual absl::Status Store(std::span<const StoreItem> items, std::span<StoreOutcome> outcomes) = 0;
  virtual void Release(uint64_t lease_id) = 0;  // errors do not matter: leases expire
};

// A polarkv server. `client` must outlive the result.
std::unique_ptr<PrefixCache> MakeClientCache(KvClient* client, NamespaceHandle handle, std::chrono::milliseconds lease);

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_PREFIX_CACHE_H_
