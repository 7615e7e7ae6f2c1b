// A buffer that blocks may be received into and attended on: 64-byte aligned.
#ifndef POLARKV_CLIENT_LOAD_ALIGNED_BUFFER_H_
#define POLARKV_CLIENT_LOAD_ALIGNED_BUFFER_H_

#include <cstdint>
#include <memory>
#include <new>
#include <span>

namespace polarkv::load {

class AlignedBuffer {
 public:
  static constexpr std::align_val_t kAlignment{64};

  // Grows to at least `bytes`; what was in it is lost then.
  void Reserve(uint64_t bytes) {
    if (bytes <= size_) return;
    data_.reset(static_cast<uint8_t*>(::operator new(bytes, kAlignment)));
    size_ = bytes;
  }
  std::span<uint8_t> span(uint64_t offset, uint64_t bytes) { return {data_.get() + offset, bytes}; }
  uint64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(uint8_t* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<uint8_t, Free> data_;
  uint64_t size_ = 0;
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_ALIGNED_BUFFER_H_
