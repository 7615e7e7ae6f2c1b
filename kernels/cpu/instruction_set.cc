#include "kernels/cpu/instruction_set.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>

#include "kernels/cpu/amx_support.h"

namespace polarkv::cpu {
namespace {

InstructionSet Choose() {
  const char* wanted = std::getenv("POLARKV_INSTRUCTION_SET");
  InstructionSet best = InstructionSet::kScalar;
  for (InstructionSet set : kInstructionSets) {
    if (!Supports(set)) continue;
    if (wanted != nullptr && InstructionSetName(set) == wanted) return set;
    best = set;
  }
  return best;
}

#if defined(__x86_64__)
// clang 14 does not know it as a feature to ask for.
bool HasF16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

}  // namespace

bool Supports(InstructionSet set) {
  if (set == InstructionSet::kScalar) return true;
#if defined(POLARKV_HAS_AMX_BODY)
  if (set == InstructionSet::kAmx) return WhyNoAmx().empty();
#else
  if (set == InstructionSet::kAmx) return false;
#endif
#if defined(__x86_64__)
  if (set == InstructionSet::kVector128) return __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2");
  if (set == InstructionSet::kAvx2) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && HasF16c();
  }
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
#elif defined(__aarch64__) || defined(__wasm_simd128__)
  return set == InstructionSet::kVector128;
#else
  return false;
#endif
}

InstructionSet BestInstructionSet() {
  static const InstructionSet best = Choose();
  return best;
}

std::string_view InstructionSetName(InstructionSet set) {
  switch (set) {
    case InstructionSet::kScalar:
      return "scalar";
    case InstructionSet::kVector128:
      return "vector128";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAmx:
      return "amx";
  }
  return "";
}

}  // namespace polarkv::cpu
