#include "service/block_bytes.h"

#include <cstdlib>
#include <utility>

namespace polarkv {

std::shared_ptr<BlockBuffer> BlockBuffer::TryAllocate(const std::shared_ptr<ByteBudget>& budget, uint64_t size,
                                                      uint64_t leave) {
  const uint64_t charge = Charge(size);
  if (size == 0 || charge < size || !budget->TryCharge(charge, leave)) return nullptr;
  void* data = std::aligned_alloc(64, charge);
  if (data == nullptr) {
    budget->Release(charge);
    return nullptr;
  }
  return std::shared_ptr<BlockBuffer>(new BlockBuffer(budget, static_cast<uint8_t*>(data), size));
}

BlockBuffer::BlockBuffer(std::shared_ptr<ByteBudget> budget, uint8_t* data, uint64_t size)
    : budget_(std::move(budget)), data_(data), size_(size) {}

BlockBuffer::~BlockBuffer() {
  std::free(data_);
  budget_->Release(Charge(size_));
}

}  // namespace polarkv
