#include "service/lease_table.h"

namespace polarkv {

uint64_t LeaseTable::Grant(Entries entries, Clock::time_point expiry) {
  uint64_t id = 0;
  while (id == 0 || leases_.contains(id)) id = uint64_t{random_()} << 32 | random_();
  pins_ += entries.size();
  leases_[id] = {std::move(entries), expiry};
  by_expiry_.insert({expiry, id});
  return id;
}

LeaseTable::Entries LeaseTable::Release(uint64_t id) {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return {};
  Entries entries = std::move(found->second.entries);
  pins_ -= entries.size();
  by_expiry_.erase({found->second.expiry, id});
  leases_.erase(found);
  return entries;
}

LeaseTable::Entries LeaseTable::TakeExpired(Clock::time_point now) {
  Entries expired;
  while (!by_expiry_.empty() && by_expiry_.begin()->first <= now) {
    const Entries entries = Release(by_expiry_.begin()->second);
    expired.insert(expired.end(), entries.begin(), entries.end());
  }
  return expired;
}

}  // namespace polarkv
