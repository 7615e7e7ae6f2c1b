// A match over more keys than one request may hold gets a lease with each request; the caller sees the first one only.
#ifndef POLARKV_CLIENT_LEASE_GROUPS_H_
#define POLARKV_CLIENT_LEASE_GROUPS_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace polarkv {

// Thread-safe.
class LeaseGroups {
 public:
  using Clock = std::chrono::steady_clock;

  // `others` end together with `first`, within `lease` at the latest; then they are forgotten.
  void Add(uint64_t first, std::vector<uint64_t> others, std::chrono::milliseconds lease);
  // The leases to be released with `first`, which is none of them. They are handed out once.
  std::vector<uint64_t> TakeOthers(uint64_t first);

 private:
  struct Group {
    std::vector<uint64_t> others;
    Clock::time_point end;
  };
  std::mutex mutex_;
  std::map<uint64_t, Group> groups_;
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_LEASE_GROUPS_H_
