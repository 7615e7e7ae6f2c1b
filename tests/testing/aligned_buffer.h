// Bytes aligned to 64, as fetches and kernels want them.
#ifndef POLARKV_TESTS_TESTING_ALIGNED_BUFFER_H_
#define POLARKV_TESTS_TESTING_ALIGNED_BUFFER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

namespace polarkv::testing {

class AlignedBuffer {
 public:
  explicit AlignedBuffer(size_t bytes, uint8_t fill = 0xEE)
      : data_(static_cast<uint8_t*>(::operator new(std::max<size_t>(bytes, 1), kAlignment))), bytes_(bytes) {
    std::fill_n(data_, bytes, fill);
  }
  ~AlignedBuffer() { ::operator delete(data_, kAlignment); }
  AlignedBuffer(AlignedBuffer&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
  AlignedBuffer& operator=(AlignedBuffer&&) = delete;

  std::span<uint8_t> span() const { return {data_, bytes_}; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  uint8_t* data_;
  size_t bytes_;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_TESTING_ALIGNED_BUFFER_H_
