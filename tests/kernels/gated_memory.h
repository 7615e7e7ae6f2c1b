// Memory that can be made such that who reads it waits: for tests of what a thread keeps others from while it reads.
#ifndef POLARKV_TESTS_KERNELS_GATED_MEMORY_H_
#define POLARKV_TESTS_KERNELS_GATED_MEMORY_H_

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace polarkv::testing {

// One at a time.
class GatedMemory {
 public:
  explicit GatedMemory(size_t bytes)
      : bytes_(bytes), memory_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) std::abort();
    current_ = this;
    struct sigaction action = {};
    action.sa_sigaction = OnFault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before_);
  }
  ~GatedMemory() {
    sigaction(SIGSEGV, &before_, nullptr);
    munmap(memory_, bytes_);
  }
  GatedMemory(const GatedMemory&) = delete;
  GatedMemory& operator=(const GatedMemory&) = delete;

  template <class T>
  T* As() const {
    return static_cast<T*>(memory_);
  }
  // From now on the first reader waits for Open, ten seconds at most.
  void Close() { mprotect(memory_, bytes_, PROT_NONE); }
  void Open() { open_ = true; }
  // Whether there was a reader, and Open came while it waited.
  bool WasOpenedInTime() const { return opened_in_time_; }

 private:
  static void OnFault(int, siginfo_t* info, void*) {
    GatedMemory& gate = *current_;
    const auto* const at = static_cast<const uint8_t*>(info->si_addr);
    const auto* const first = static_cast<const uint8_t*>(gate.memory_);
    if (at < first || at >= first + gate.bytes_) {
      sigaction(SIGSEGV, &gate.before_, nullptr);  // somebody else's: it comes again
      return;
    }
    const bool was_open = gate.open_;
    for (int i = 0; i < 10000 && !gate.open_; ++i) usleep(1000);
    gate.opened_in_time_ = !was_open && gate.open_;
    mprotect(gate.memory_, gate.bytes_, PROT_READ | PROT_WRITE);
  }

  static inline GatedMemory* current_ = nullptr;
  const size_t bytes_;
  void* const memory_;
  struct sigaction before_ = {};
  std::atomic<bool> open_ = false, opened_in_time_ = false;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_GATED_MEMORY_H_
