#include "kernels/cpu/instruction_set.h"

namespace polarkv::cpu {

bool Supports(InstructionSet set) {
  if (set == InstructionSet::kScalar) return true;
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

InstructionSet BestInstructionSet() {
  static const InstructionSet best = Supports(InstructionSet::kAvx512) ? InstructionSet::kAvx512 : InstructionSet::kScalar;
  return best;
}

std::string_view InstructionSetName(InstructionSet set) {
  return set == InstructionSet::kAvx512 ? "avx512-vnni-vbmi" : "scalar";
}

}  // namespace polarkv::cpu
