#include <utility>

#include "client/load/prefix_cache.h"

namespace polarkv::load {
namespace {

class ClientCache : public PrefixCache {
 public:
  ClientCache(KvClient* client, NamespaceHandle handle, std::chrono::milliseconds lease)
      : client_(client), handle_(std::move(handle)), lease_(lease) {}

  absl::StatusOr<PrefixMatch> Match(std::span<const BlockKey> keys) override {
    return client_->Match(handle_, keys, lease_);
  }
  absl::Status Fetch(std::span<const BlockKey> keys, std::span<FetchSlot> slots, uint64_t lease_id) override {
    return client_->Fetch(handle_, keys, BlockSelection{}, slots, lease_id);
  }
  absl::Status Store(std::span<const StoreItem> items, std::span<StoreOutcome> outcomes) override {
    return client_->Store(handle_, items, outcomes);
  }
  void Release(uint64_t lease_id) override { client_->ReleaseLease(lease_id).IgnoreError(); }

 private:
  KvClient* client_;
  NamespaceHandle handle_;
  std::chrono::milliseconds lease_;
};

}  // namespace

std::unique_ptr<PrefixCache> MakeClientCache(KvClient* client, NamespaceHandle handle,
                                             std::chrono::milliseconds lease) {
  return std::make_unique<ClientCache>(client, std::move(handle), lease);
}

}  // namespace polarkv::load
