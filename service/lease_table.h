// Leases: which blocks are pinned, until when, for whom.
#ifndef POLARKV_SERVICE_LEASE_TABLE_H_
#define POLARKV_SERVICE_LEASE_TABLE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace polarkv {

struct BlockEntry;

// Only keeps the books; pinning and unpinning is the caller's. Not thread-safe.
class LeaseTable {
 public:
  using Clock = std::chrono::steady_clock;
  using Entries = std::vector<BlockEntry*>;

  // At most `max_pins` blocks, counted once per lease, so that leases cannot be used to fill the memory.
  explicit LeaseTable(size_t max_pins) : max_pins_(max_pins) {}

  bool HasRoomFor(size_t pins) const { return pins <= max_pins_ - pins_; }
  // An id that cannot be guessed, never 0.
  uint64_t Grant(Entries entries, Clock::time_point expiry);
  // What the lease pinned; empty when it is unknown.
  Entries Release(uint64_t id);
  Entries TakeExpired(Clock::time_point now);
  size_t size() const { return leases_.size(); }

 private:
  struct Lease {
    Entries entries;
    Clock::time_point expiry;
  };
  const size_t max_pins_;
  size_t pins_ = 0;
  std::unordered_map<uint64_t, Lease> leases_;
  std::set<std::pair<Clock::time_point, uint64_t>> by_expiry_;
  std::random_device random_;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_LEASE_TABLE_H_
