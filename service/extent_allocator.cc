#include "service/extent_allocator.h"

#include <algorithm>
#include <iterator>

namespace polarkv {

uint64_t TotalUnits(const Extents& extents) {
  uint64_t units = 0;
  for (const ExtentRun& run : extents) units += run.units;
  return units;
}

void ExtentAllocator::Grow(uint64_t units) {
  if (units == 0) return;
  AddRun(static_cast<uint32_t>(total_), static_cast<uint32_t>(units));
  total_ += units;
}

Extents ExtentAllocator::Allocate(uint64_t units) {
  if (units == 0 || units > free_) return {};
  Extents extents;
  while (units > 0) {
    auto fit = by_size_.lower_bound({static_cast<uint32_t>(units), 0});
    if (fit == by_size_.end()) fit = std::prev(fit);  // none is large enough: the largest
    extents.push_back(TakeFrom(by_begin_.find(fit->second), units));
    units -= extents.back().units;
  }
  return extents;
}

ExtentRun ExtentAllocator::AllocateRun(uint64_t units) {
  if (units == 0 || units > free_) return {};
  const auto fit = by_size_.lower_bound({static_cast<uint32_t>(units), 0});
  if (fit == by_size_.end()) return {};
  return TakeFrom(by_begin_.find(fit->second), units);
}

ExtentRun ExtentAllocator::TakeFrom(std::map<uint32_t, uint32_t>::iterator run, uint64_t units) {
  const auto [begin, length] = *run;
  const uint32_t taken = static_cast<uint32_t>(std::min<uint64_t>(length, units));
  RemoveRun(run);
  if (taken < length) AddRun(begin + taken, length - taken);
  return {begin, taken};
}

void ExtentAllocator::ForEachFreeRun(const std::function<void(ExtentRun)>& visit) const {
  for (const auto& [begin, units] : by_begin_) visit({begin, units});
}

void ExtentAllocator::Free(const Extents& extents) {
  for (const ExtentRun& run : extents) AddRun(run.begin, run.units);
}

bool ExtentAllocator::Reserve(const Extents& extents) {
  for (size_t i = 0; i < extents.size(); ++i) {
    if (ReserveRun(extents[i])) continue;
    for (size_t undo = 0; undo < i; ++undo) AddRun(extents[undo].begin, extents[undo].units);
    return false;
  }
  return true;
}

bool ExtentAllocator::ReserveRun(ExtentRun run) {
  const uint64_t end = uint64_t{run.begin} + run.units;
  if (run.units == 0 || end > total_) return false;
  auto after = by_begin_.upper_bound(run.begin);
  if (after == by_begin_.begin()) return false;
  const auto holder = std::prev(after);
  const auto [begin, units] = *holder;
  if (end > uint64_t{begin} + units) return false;
  RemoveRun(holder);
  if (begin < run.begin) AddRun(begin, run.begin - begin);
  if (end < uint64_t{begin} + units) AddRun(static_cast<uint32_t>(end), static_cast<uint32_t>(begin + units - end));
  return true;
}

void ExtentAllocator::AddRun(uint32_t begin, uint32_t units) {
  free_ += units;
  auto after = by_begin_.lower_bound(begin);
  if (after != by_begin_.end() && after->first == begin + units) {
    units += after->second;
    by_size_.erase({after->second, after->first});
    after = by_begin_.erase(after);
  }
  if (after != by_begin_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == begin) {
      begin = before->first;
      units += before->second;
      by_size_.erase({before->second, before->first});
      by_begin_.erase(before);
    }
  }
  by_begin_[begin] = units;
  by_size_.insert({units, begin});
}

void ExtentAllocator::RemoveRun(std::map<uint32_t, uint32_t>::iterator run) {
  free_ -= run->second;
  by_size_.erase({run->second, run->first});
  by_begin_.erase(run);
}

}  // namespace polarkv
