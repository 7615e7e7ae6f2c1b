// Host memory for encoded blocks, aligned as fetches and kernels want it. Workers with pinned or GPU staging memory of
// their own do not need it.
#ifndef POLARKV_CLIENT_ALIGNED_BUFFER_H_
#define POLARKV_CLIENT_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include "codec/block_format.h"

namespace polarkv {

// Move-only; not initialised.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size)
      : bytes_(static_cast<uint8_t*>(::operator new (size, std::align_val_t{kSegmentAlignment}))), size_(size) {}

  // Grows to at least `size` bytes; what was in it is lost then.
  void Reserve(size_t size) {
    if (size > size_) *this = AlignedBuffer(size);
  }

  std::span<uint8_t> span() { return {bytes_.get(), size_}; }
  std::span<const uint8_t> span() const { return {bytes_.get(), size_}; }

 private:
  struct Free {
    void operator()(uint8_t* bytes) const { ::operator delete (bytes, std::align_val_t{kSegmentAlignment}); }
  };
  std::unique_ptr<uint8_t[], Free> bytes_;
  size_t size_ = 0;
};

}  // namespace polarkv

#endif  // POLARKV_CLIENT_ALIGNED_BUFFER_H_
