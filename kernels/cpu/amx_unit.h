// The tile registers of the processor. A body over a unit type `Unit` runs on these or, step by step, on
// EmulatedAmxUnit. For sources compiled with -mamx-tile -mamx-int8 (and -mamx-bf16 where DotBf16 is used).
//
// Not the compiler's intrinsics: those of g++ 12 do not say that a load reads memory, so that the compiler may move or
// drop the stores before it, and they take no template's number for a register's.
#ifndef POLARKV_KERNELS_CPU_AMX_UNIT_H_
#define POLARKV_KERNELS_CPU_AMX_UNIT_H_

#include "kernels/cpu/amx_tile_config.h"

namespace polarkv::cpu {
namespace {

class AmxUnit {
 public:
  static void Configure(const AmxTileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
  // Gives the registers back: a thread that holds them has kilobytes more to save when it is switched.
  static void Release() { asm volatile("tilerelease"); }

  // Rows `stride` bytes apart.
  template <int kTo>
  static void Load(const void* rows, int64_t stride) {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(kTo), "r"(rows), "r"(stride) : "memory");
  }
  template <int kFrom>
  static void Store(void* rows, int64_t stride) {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(kFrom), "r"(rows), "r"(stride) : "memory");
  }
  template <int kTo>
  static void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTo));
  }

  // kSum[m][n] += sum over k of kA[m][k] * kB[k / 4][4 n + k % 4]: int8 times int8, and uint8 times int8.
  template <int kSum, int kA, int kB>
  static void DotS8S8() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
  }
  template <int kSum, int kA, int kB>
  static void DotU8S8() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
  }
  // The same of pairs of bf16, in fp32.
  template <int kSum, int kA, int kB>
  static void DotBf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
  }
};

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_UNIT_H_
