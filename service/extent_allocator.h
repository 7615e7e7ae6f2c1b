// Which parts of a space are in use, in units of 4 KiB: of the block file, and of the memory for blocks.
#ifndef POLARKV_SERVICE_EXTENT_ALLOCATOR_H_
#define POLARKV_SERVICE_EXTENT_ALLOCATOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace polarkv {

inline constexpr uint64_t kExtentBytes = 4096;
inline constexpr uint64_t ExtentUnits(uint64_t bytes) { return (bytes + kExtentBytes - 1) / kExtentBytes; }

struct ExtentRun {
  uint32_t begin = 0;  // in units
  uint32_t units = 0;
  friend bool operator==(const ExtentRun&, const ExtentRun&) = default;
};
using Extents = std::vector<ExtentRun>;

uint64_t TotalUnits(const Extents& extents);

// Not thread-safe.
class ExtentAllocator {
 public:
  // Appends units to the space; they are free.
  void Grow(uint64_t units);
  // The smallest single run that is large enough, else the largest ones until it is enough: space is never unusable
  // because it is scattered. Empty when less than `units` are free.
  Extents Allocate(uint64_t units);
  // The smallest single run that is large enough; 0 units when there is none.
  ExtentRun AllocateRun(uint64_t units);
  void Free(const Extents& extents);
  // Takes exactly these units out of the free space. False, with nothing taken, when one of them is not free.
  bool Reserve(const Extents& extents);

  void ForEachFreeRun(const std::function<void(ExtentRun)>& visit) const;

  uint64_t total_units() const { return total_; }
  uint64_t free_units() const { return free_; }

 private:
  void AddRun(uint32_t begin, uint32_t units);
  ExtentRun TakeFrom(std::map<uint32_t, uint32_t>::iterator run, uint64_t units);
  void RemoveRun(std::map<uint32_t, uint32_t>::iterator run);
  bool ReserveRun(ExtentRun run);

  std::map<uint32_t, uint32_t> by_begin_;               // begin -> units
  std::set<std::pair<uint32_t, uint32_t>> by_size_;     // (units, begin)
  uint64_t total_ = 0;
  uint64_t free_ = 0;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_EXTENT_ALLOCATOR_H_
