// The memory that blocks live in: one mapping of the size of the memory budget, given out in runs of 4 KiB pages and
// reused. What blocks occupy can therefore not grow beyond the budget by fragmentation of the heap, and a block that
// takes the place of another one costs no page faults.
//
// Everything that counts against the memory budget is charged here, the index of blocks included.
#ifndef POLARKV_SERVICE_BLOCK_ARENA_H_
#define POLARKV_SERVICE_BLOCK_ARENA_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "absl/status/statusor.h"
#include "service/byte_budget.h"
#include "service/extent_allocator.h"

namespace polarkv {

class BlockBuffer;

// Thread-safe. Lives as long as one of its buffers does.
class BlockArena : public std::enable_shared_from_this<BlockArena> {
 public:
  // Reserves addresses; memory is taken as it is used. RESOURCE_EXHAUSTED: this machine does not give so much.
  static absl::StatusOr<std::shared_ptr<BlockArena>> Make(uint64_t budget);
  ~BlockArena();
  BlockArena(const BlockArena&) = delete;
  BlockArena& operator=(const BlockArena&) = delete;

  // Null, with nothing charged, when there is no room, or no single run that is large enough, or less than `leave` bytes
  // would be left to others.
  std::shared_ptr<BlockBuffer> TryAllocate(uint64_t size, uint64_t leave = 0);
  // What a buffer of `size` bytes is charged.
  static uint64_t Charge(uint64_t size) { return ExtentUnits(size) * kExtentBytes; }

  // For what is not a buffer.
  bool TryChargeOther(uint64_t bytes);
  void ReleaseOther(uint64_t bytes);

  uint64_t used() const { return budget_.used(); }
  uint64_t limit() const { return budget_.limit(); }

 private:
  friend class BlockBuffer;
  BlockArena(uint8_t* base, uint64_t budget);
  void Free(ExtentRun run);
  void GiveBackFreePages();

  uint8_t* const base_;
  const uint64_t mapped_bytes_;
  ByteBudget budget_;
  std::mutex mu_;
  ExtentAllocator pages_;
  uint64_t other_ = 0;         // charged by TryChargeOther
  uint64_t other_settled_ = 0; // `other_` when free pages were last given back
};

// The bytes of one block, reference-counted: the store, a reader and the network may hold them at once, and they are
// charged until the last of them lets go.
class BlockBuffer {
 public:
  ~BlockBuffer();
  BlockBuffer(const BlockBuffer&) = delete;
  BlockBuffer& operator=(const BlockBuffer&) = delete;

  // Page-aligned; not initialised.
  uint64_t size() const { return size_; }
  std::span<uint8_t> writable() { return {data_, size_}; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  friend class BlockArena;
  BlockBuffer(std::shared_ptr<BlockArena> arena, ExtentRun run, uint64_t size);

  const std::shared_ptr<BlockArena> arena_;
  const ExtentRun run_;
  uint8_t* const data_;
  const uint64_t size_;
};

// A block that nobody changes any more.
using BlockBytes = std::shared_ptr<const BlockBuffer>;

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BLOCK_ARENA_H_
