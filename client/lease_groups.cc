#include "client/lease_groups.h"

#include <utility>

namespace polarkv {

void LeaseGroups::Add(uint64_t first, std::vector<uint64_t> others, std::chrono::milliseconds lease) {
  if (others.empty()) return;
  const Clock::time_point now = Clock::now();
  const std::lock_guard lock(mutex_);
  std::erase_if(groups_, [now](const auto& entry) { return entry.second.end <= now; });
  groups_[first] = {std::move(others), now + lease};
}

std::vector<uint64_t> LeaseGroups::TakeOthers(uint64_t first) {
  const std::lock_guard lock(mutex_);
  const auto found = groups_.find(first);
  if (found == groups_.end()) return {};
  std::vector<uint64_t> others = std::move(found->second.others);
  groups_.erase(found);
  return others;
}

}  // namespace polarkv
