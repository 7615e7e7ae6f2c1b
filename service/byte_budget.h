// A hard limit on bytes, shared by everybody who holds some of them.
#ifndef POLARKV_SERVICE_BYTE_BUDGET_H_
#define POLARKV_SERVICE_BYTE_BUDGET_H_

#include <atomic>
#include <cstdint>

namespace polarkv {

// Thread-safe: used() never exceeds limit(), whoever charges at the same time.
class ByteBudget {
 public:
  explicit ByteBudget(uint64_t limit) : limit_(limit) {}
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  // False, with nothing charged, when the bytes do not fit, or would not leave `leave` bytes to others.
  bool TryCharge(uint64_t bytes, uint64_t leave = 0) {
    uint64_t used = used_.load(std::memory_order_relaxed);
    do {
      const uint64_t room = limit_ - used;
      if (room < leave || bytes > room - leave) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }
  void Release(uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  uint64_t limit() const { return limit_; }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> used_{0};
};

}  // namespace polarkv

#endif  // POLARKV_SERVICE_BYTE_BUDGET_H_
