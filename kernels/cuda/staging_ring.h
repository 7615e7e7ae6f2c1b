// Places in a ring of pinned memory, handed out and given back in order.
#ifndef POLARKV_KERNELS_CUDA_STAGING_RING_H_
#define POLARKV_KERNELS_CUDA_STAGING_RING_H_

#include <cstddef>
#include <cstdint>

namespace polarkv::cuda {

// Only numbers; the memory is the caller's. Not thread-safe.
class StagingRing {
 public:
  explicit StagingRing(size_t bytes) : bytes_(bytes) {}
  size_t bytes() const { return bytes_; }

  // Whether Take(count) would do; `count` bytes stand together.
  bool HasRoom(size_t count) const { return count <= bytes_ && (head_ == tail_ || StartOf(count) + count - tail_ <= bytes_); }
  // Offset of `count` bytes in the ring; there must be room.
  size_t Take(size_t count) {
    const uint64_t start = StartOf(count);
    if (head_ == tail_) tail_ = start;
    head_ = start + count;
    return static_cast<size_t>(start % bytes_);
  }
  // What was taken so far; to be given to Free when it is not needed any more.
  uint64_t mark() const { return head_; }
  void Free(uint64_t mark) { tail_ = mark; }

 private:
  // Not across the end.
  uint64_t StartOf(size_t count) const {
    if (count == 0) return head_;
    const uint64_t at = head_ % bytes_;
    return at + count <= bytes_ ? head_ : head_ + bytes_ - at;
  }

  size_t bytes_;
  uint64_t head_ = 0, tail_ = 0;  // counting up for ever
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_STAGING_RING_H_
