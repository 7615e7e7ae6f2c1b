// The bytes of one block in memory, reference-counted: the store, a reader and the network may hold them at once, and
// they are charged to the memory budget until the last of them lets go.
#ifndef POLARKV_SERVICE_BLOCK_BYTES_H_
#define POLARKV_SERVICE_BLOCK_BYTES_H_

#include <cstdint>
#include <memory>
#include <span>

#include "service/byte_budget.h"

namespace polarkv {

class BlockBuffer {
 public:
  // 64-byte aligned, not initialised. Null, with nothing charged, when the budget has no room beyond the bytes to leave,
  // or the machine has none.
  static std::shared_ptr<BlockBuffer> TryAllocate(const std::shared_ptr<ByteBudget>& budget, uint64_t size,
                                                  uint64_t leave = 0);
  ~BlockBuffer();
  BlockBuffer(const BlockBuffer&) = delete;
  BlockBuffer& operator=(const BlockBuffer&) = delete;

  uint64_t size() const { return size_; }
  std::span<uint8_t> writable() { return {data_, size_}; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

  // What a buffer of `size` bytes is charged.
  static uint64_t Charge(uint64_t size) { return (size + 63) / 64 * 64; }

 private:
  BlockBuffer(std::shared_ptr<ByteBudget> budget, uint8_t* data, uint64_t size);

  const std::shared_ptr<ByteBudget> budget_;
  uint8_t* const data_;
  const uint64_t size_;
};

// A block that nobody changes any more.
using BlockBytes = std::shared_ptr<const BlockBuffer>;

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BLOCK_BYTES_H_
