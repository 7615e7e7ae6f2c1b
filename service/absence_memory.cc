#include "service/absence_memory.h"

#include <bit>

#include "absl/hash/hash.h"

namespace polarkv {
namespace {

constexpr uint64_t kReasonMask = 0xFF;

uint64_t HashOf(const BlockName& name) { return absl::Hash<BlockName>{}(name); }

}  // namespace

AbsenceMemory::AbsenceMemory(size_t slots) : slots_(std::bit_ceil(slots)) {}

void AbsenceMemory::Record(const BlockName& name, AbsenceReason reason) {
  const uint64_t hash = HashOf(name);
  slots_[(hash >> 8) % slots_.size()] = (hash & ~kReasonMask) | static_cast<uint64_t>(reason);
}

void AbsenceMemory::Forget(const BlockName& name) {
  const uint64_t hash = HashOf(name);
  uint64_t& slot = slots_[(hash >> 8) % slots_.size()];
  if ((slot & ~kReasonMask) == (hash & ~kReasonMask)) slot = 0;
}

AbsenceReason AbsenceMemory::Reason(const BlockName& name) const {
  const uint64_t hash = HashOf(name);
  const uint64_t slot = slots_[(hash >> 8) % slots_.size()];
  if ((slot & ~kReasonMask) != (hash & ~kReasonMask)) return AbsenceReason::kNotStored;
  return static_cast<AbsenceReason>(slot & kReasonMask);
}

}  // namespace polarkv
