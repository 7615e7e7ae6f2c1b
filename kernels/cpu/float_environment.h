// The floating-point environment that the format's arithmetic is defined in.
#ifndef POLARKV_KERNELS_CPU_FLOAT_ENVIRONMENT_H_
#define POLARKV_KERNELS_CPU_FLOAT_ENVIRONMENT_H_

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace polarkv::cpu {

// While it lives, this thread rounds to nearest, keeps subnormal numbers and takes no floating-point trap, whatever the
// caller has set (flush-to-zero is common in workers); then the caller's setting is back. Elsewhere than on x86-64 and
// AArch64 the caller must see to that.
class FloatEnvironment {
 public:
#if defined(__x86_64__)
  FloatEnvironment() : saved_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~FloatEnvironment() { _mm_setcsr(saved_); }
#elif defined(__aarch64__)
  FloatEnvironment() : saved_(Read()) { Write(0); }
  ~FloatEnvironment() { Write(saved_); }
#else
  FloatEnvironment() = default;
#endif
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

#if defined(__x86_64__)
 private:
  static constexpr uint32_t kDefault = 0x1F80;  // all exceptions masked, nothing else
  uint32_t saved_;
#elif defined(__aarch64__)
 private:
  static uint64_t Read() {
    uint64_t fpcr;
    asm volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
  }
  static void Write(uint64_t fpcr) { asm volatile("msr fpcr, %0" ::"r"(fpcr)); }
  uint64_t saved_;
#endif
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_FLOAT_ENVIRONMENT_H_
