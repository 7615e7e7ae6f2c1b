#include "kernels/cpu/amx_support.h"

#include <cstdio>
#include <string>

#include "kernels/cpu/amx_attention.h"
#include "kernels/cpu/amx_self_check.h"
#include "kernels/cpu/amx_tile_config.h"
#include "kernels/cpu/instruction_set.h"

#if defined(POLARKV_HAS_AMX_BODY) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#endif

namespace polarkv::cpu {
namespace {

#if defined(POLARKV_HAS_AMX_BODY) && defined(__linux__)

bool ProcessorHasAmxInt8() {
  constexpr unsigned kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;
  unsigned a, b, c, d;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kAmxTile) == 0 || (d & kAmxInt8) == 0) return false;
  // Palette 1 is what the body configures.
  if (__get_cpuid_count(0x1D, 1, &a, &b, &c, &d) == 0) return false;
  return (b & 0xFFFF) >= kAmxRowBytes && b >> 16 >= kAmxRegisters && (c & 0xFFFF) >= kAmxRows;
}

// Linux gives a process no tile data until it asks.
std::string WhyNoPermission() {
  constexpr int kRequestPermission = 0x1023, kGetPermission = 0x1022;  // ARCH_REQ_XCOMP_PERM, ARCH_GET_XCOMP_PERM
  constexpr int kTileConfig = 17, kTileData = 18;                      // numbers of the register states
  const auto because = [] { return std::string("the operating system grants no AMX tile data: ") + std::strerror(errno); };
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) return because();
  uint64_t granted = 0;
  if (syscall(SYS_arch_prctl, kGetPermission, &granted) != 0) return because();
  constexpr uint64_t kBoth = uint64_t{1} << kTileConfig | uint64_t{1} << kTileData;
  return (granted & kBoth) == kBoth ? "" : "the operating system grants no AMX tile data";
}

std::string FindOut() {
  if (!Supports(InstructionSet::kAvx512)) return "this processor has no AVX-512 with VBMI and VNNI";
  if (!ProcessorHasAmxInt8()) return "this processor has no AMX with int8 products";
  if (std::string reason = WhyNoPermission(); !reason.empty()) return reason;
  if (PassesAmxSelfCheck(TurboAttendAmx)) return "";
  std::fputs("polarkv: this machine's AMX products are not what they should be; AVX-512 is used instead\n", stderr);
  return "this machine's AMX products are not what they should be";
}

#else

std::string FindOut() { return "this program was built without AMX"; }

#endif

}  // namespace

std::string_view WhyNoAmx() {
  static const std::string reason = FindOut();
  return reason;
}

}  // namespace polarkv::cpu
