// What a node keeps: encoded blocks by namespace and key, immutable, with the chains that connect them.
//
// Bodies: LocalStore in memory, on disk, or in memory over disk (local_store.h). All pass one conformance suite
// (tests/service/block_store_conformance_test.cc).
//
// Thread-safe. The batch is the unit; a batch is not a transaction, each block stands for itself.
#ifndef POLARKV_SERVICE_BLOCK_STORE_H_
#define POLARKV_SERVICE_BLOCK_STORE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/block_key.h"
#include "service/block_arena.h"

namespace polarkv {

// A namespace on this node; given by the NamespaceRegistry, never reused.
using NamespaceId = uint32_t;

struct PutItem {
  BlockKey key;
  std::optional<BlockKey> parent;  // the block before it in its chain; absent for the first of a chain
  uint64_t block_index = 0;        // position in the chain; a parent's is one less
  BlockBytes bytes;                // a whole block that was parsed and verified; the store keeps the reference
};

enum class PutOutcome {
  kStored,
  kDuplicate,  // the same bytes were there
  kConflict,   // other bytes were there and stay
  kMismatch,   // contradicts the chain positions of blocks that are there
  kNoSpace,
  kIoError
};

struct PutResult {
  PutOutcome outcome = PutOutcome::kStored;
  std::string message;  // empty when stored or duplicate
};

enum class AbsenceReason : uint8_t { kNotStored, kEvicted, kDeleted, kCorrupt, kLostAtRestart };

struct PrefixMatchResult {
  std::vector<uint64_t> block_bytes;      // one a matched block, from the first key on
  std::optional<AbsenceReason> stop;      // why the next key did not match; nullopt: all did
  uint64_t lease_id = 0;                  // 0: none granted
  std::chrono::milliseconds lease{0};     // granted
};

struct BlockTotals {
  uint64_t blocks = 0;
  uint64_t bytes = 0;
};

struct BlockStoreStats {
  BlockTotals memory;
  uint64_t memory_used = 0;  // everything charged to the memory budget: blocks, their index, blocks on their way
  uint64_t memory_budget = 0;
  BlockTotals disk;
  uint64_t disk_used = 0;  // bytes of the disk budget that blocks occupy
  uint64_t disk_budget = 0;
  uint64_t pending_writes = 0;  // in memory, not yet on disk
  uint64_t leases = 0;
  uint64_t evicted_blocks = 0;  // since start
  uint64_t corrupt_blocks = 0;  // found corrupt and dropped since start
  uint64_t lost_blocks = 0;     // known before the start, gone after it
  uint64_t failed_writes = 0;   // blocks that stayed in memory because the disk did not take them
};

class BlockStore {
 public:
  virtual ~BlockStore() = default;

  // Memory to receive a block in, charged to this store's budget; evicts to make room and may wait for writes to disk.
  // INVALID_ARGUMENT: zero bytes. RESOURCE_EXHAUSTED: larger than the budget, or all memory is in use.
  virtual absl::StatusOr<std::shared_ptr<BlockBuffer>> Allocate(uint64_t bytes) = 0;

  // Stores verified blocks; each is visible at once and complete, or not at all. May wait for writes to disk.
  virtual std::vector<PutResult> Put(NamespaceId ns, std::span<const PutItem> items) = 0;

  // Longest stored prefix of a chain of keys, counted as a use of its blocks. With `lease` > 0 they are pinned for that
  // long, or for the longest time that this store grants.
  virtual PrefixMatchResult MatchPrefix(NamespaceId ns, std::span<const BlockKey> keys,
                                        std::chrono::milliseconds lease) = 0;

  // The blocks' bytes, counted as a use. Per key: NOT_FOUND; DATA_LOSS (failed its checks, dropped); UNAVAILABLE (the
  // disk could not be read); RESOURCE_EXHAUSTED (no memory to read it into).
  virtual std::vector<absl::StatusOr<BlockBytes>> Get(NamespaceId ns, std::span<const BlockKey> keys) = 0;

  // Never counted as a use.
  virtual std::vector<bool> Exists(NamespaceId ns, std::span<const BlockKey> keys) const = 0;

  // Deleted blocks are not matched any more; pinned ones leave when their lease ends.
  virtual BlockTotals Delete(NamespaceId ns, std::span<const BlockKey> keys) = 0;
  virtual BlockTotals DeleteNamespace(NamespaceId ns) = 0;

  // Unknown and expired leases are ignored.
  virtual void ReleaseLease(uint64_t lease_id) = 0;

  virtual BlockTotals Usage(NamespaceId ns) const = 0;
  virtual BlockStoreStats Stats() const = 0;

  // Returns when every block stored before the call is durable. RESOURCE_EXHAUSTED, UNAVAILABLE: some could not be
  // written; the message says how many and why. Bodies without a disk have nothing to do.
  virtual absl::Status Flush() = 0;
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BLOCK_STORE_H_
