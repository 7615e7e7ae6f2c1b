// A cache in this process that keeps everything, or fails exactly as a test tells it.
#ifndef POLARKV_TESTS_LOAD_FAKE_CACHE_H_
#define POLARKV_TESTS_LOAD_FAKE_CACHE_H_

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "client/load/prefix_cache.h"

namespace polarkv::load {

class FakeCache : public PrefixCache {
 public:
  // Faults; unset: none. Set before the first call.
  std::function<absl::Status()> match_status, fetch_status, store_status;
  std::function<void(std::span<const BlockKey>)> before_match;
  // May change a block's bytes as they are handed out.
  std::function<void(const BlockKey&, std::vector<uint8_t>&)> on_fetch;
  std::function<FetchOutcome(size_t slot)> fetch_outcome;
  std::function<StoreOutcome(const StoreItem&)> store_outcome;
  MatchStop stop = MatchStop::kNotStored;

  absl::StatusOr<PrefixMatch> Match(std::span<const BlockKey> keys) override;
  absl::Status Fetch(std::span<const BlockKey> keys, std::span<FetchSlot> slots, uint64_t lease_id) override;
  absl::Status Store(std::span<const StoreItem> items, std::span<StoreOutcome> outcomes) override;
  void Release(uint64_t lease_id) override;

  void Erase(const BlockKey& key);
  size_t blocks() const;
  size_t open_leases() const;
  // Blocks that were stored without their parent.
  size_t orphans() const;

 private:
  void FetchOne(const BlockKey& key, size_t index, FetchSlot& slot);

  mutable std::mutex mutex_;
  std::map<BlockKey, std::vector<uint8_t>> blocks_;
  std::set<uint64_t> leases_;
  uint64_t next_lease_ = 1;
  size_t orphans_ = 0;
};

}  // namespace polarkv::load

#endif  // POLARKV_TESTS_LOAD_FAKE_CACHE_H_
