#include "kernels/cpu/instruction_set.h"

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

}  // namespace

bool Supports(InstructionSet set) {
  if (set == InstructionSet::kScalar) return true;
  if (set == InstructionSet::kAmx) return WhyNoAmx().empty();
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

InstructionSet BestInstructionSet() {
  static const InstructionSet best = Choose();
  return best;
}

std::string_view InstructionSetName(InstructionSet set) {
  return set == InstructionSet::kAmx ? "amx" : set == InstructionSet::kAvx512 ? "avx512" : "scalar";
}

}  // namespace polarkv::cpu
