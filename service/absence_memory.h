// Remembers, in a fixed amount of memory, why blocks that were here are not.
#ifndef POLARKV_SERVICE_ABSENCE_MEMORY_H_
#define POLARKV_SERVICE_ABSENCE_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "service/block_name.h"
#include "service/block_store.h"

namespace polarkv {

// A table of hashes in which a newer absence takes the place of an older one: what was forgotten reads as kNotStored, and
// so does, once in 2^48 questions, a block that is taken for another one. Good enough for a reason, which is all it gives.
// Not thread-safe.
class AbsenceMemory {
 public:
  // Rounded up to a power of two; 8 bytes each.
  explicit AbsenceMemory(size_t slots);

  void Record(const BlockName& name, AbsenceReason reason);
  void Forget(const BlockName& name);  // the block is here again
  AbsenceReason Reason(const BlockName& name) const;

 private:
  std::vector<uint64_t> slots_;  // upper 56 bits of the name's hash, reason in the low 8; 0: empty
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_ABSENCE_MEMORY_H_
