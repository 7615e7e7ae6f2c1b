// AMX tile registers in plain C++, with the semantics that Intel's manual documents (Software Developer's Manual, volume
// 2, LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TDPBSSD, TDPBUSD, TDPBF16PS), so that a body can be checked on any
// machine and the processor's own tiles against this. What would fault ends the process.
#ifndef POLARKV_KERNELS_CPU_AMX_EMULATED_UNIT_H_
#define POLARKV_KERNELS_CPU_AMX_EMULATED_UNIT_H_

#include <cstdint>

#include "kernels/cpu/amx_tile_config.h"

namespace polarkv::cpu {

// Not thread-safe; one a thread, like the registers. Registers by number, and as template arguments as AmxUnit has them:
// those always inline, because some callers are compiled for instructions that the machine may not have.
class EmulatedAmxUnit {
 public:
  EmulatedAmxUnit();
  void Configure(const AmxTileConfig& config);
  void Release();

  void Load(uint32_t to, const void* rows, int64_t stride);
  void Store(uint32_t from, void* rows, int64_t stride) const;
  void Zero(uint32_t to);
  void DotS8S8(uint32_t sum, uint32_t a, uint32_t b);
  void DotU8S8(uint32_t sum, uint32_t a, uint32_t b);
  // Operands' subnormals count as zero, as do results'; nearest even, whatever the caller's MXCSR rounds to, provided that
  // it is in its default state for the emulation itself.
  void DotBf16(uint32_t sum, uint32_t a, uint32_t b);

  template <int kTo>
  [[gnu::always_inline]] inline void Load(const void* rows, int64_t stride) {
    Load(kTo, rows, stride);
  }
  template <int kFrom>
  [[gnu::always_inline]] inline void Store(void* rows, int64_t stride) const {
    Store(kFrom, rows, stride);
  }
  template <int kTo>
  [[gnu::always_inline]] inline void Zero() {
    Zero(kTo);
  }
  template <int kSum, int kA, int kB>
  [[gnu::always_inline]] inline void DotS8S8() {
    DotS8S8(kSum, kA, kB);
  }
  template <int kSum, int kA, int kB>
  [[gnu::always_inline]] inline void DotU8S8() {
    DotU8S8(kSum, kA, kB);
  }
  template <int kSum, int kA, int kB>
  [[gnu::always_inline]] inline void DotBf16() {
    DotBf16(kSum, kA, kB);
  }

 private:
  struct Register {
    uint32_t rows = 0, row_bytes = 0;
    uint8_t byte[kAmxRows][kAmxRowBytes] = {};
  };

  const Register& Usable(uint32_t number) const;
  void CheckDot(uint32_t sum, uint32_t a, uint32_t b) const;
  template <typename Product>
  void DotBytes(uint32_t sum, uint32_t a, uint32_t b, Product product);

  bool configured_ = false;
  Register register_[kAmxRegisters];
};

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_EMULATED_UNIT_H_
