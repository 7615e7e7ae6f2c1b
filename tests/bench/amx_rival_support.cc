#include <cpuid.h>

#include "kernels/cpu/amx_support.h"
#include "tests/bench/amx_rival_attention.h"
#include "tests/bench/rival_attention.h"

namespace polarkv::bench {

bool HasAmxBf16() {
  constexpr unsigned kAmxBf16 = 1u << 22;
  unsigned a, b, c, d;
  return cpu::WhyNoAmx().empty() && HasBf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAmxBf16) != 0;
}

}  // namespace polarkv::bench
