#include "kernels/cpu/instruction_set.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "kernels/cpu/amx_support.h"

namespace polarkv::cpu {
namespace {

constexpr char kVariable[] = "POLARKV_INSTRUCTION_SET";

// The names of some sets with commas between them.
template <class Wanted>
std::string Names(const Wanted& wanted) {
  std::string names;
  for (InstructionSet set : kInstructionSets) {
    if (wanted(set)) names.append(names.empty() ? "" : ", ").append(InstructionSetName(set));
  }
  return names;
}

std::string Complaint(std::string_view wanted, InstructionSet instead) {
  const bool known =
      std::any_of(kInstructionSets.begin(), kInstructionSets.end(),
                  [&](InstructionSet set) { return InstructionSetName(set) == wanted; });
  const std::string text = std::string(kVariable) + "=" + std::string(wanted);
  const std::string used = "; using " + std::string(InstructionSetName(instead));
  if (known) return text + ": this machine has " + Names(Supports) + used;
  return text + " is not one of " + Names([](InstructionSet) { return true; }) + used;
}

// A wrong wish must not pass for a fulfilled one: measurements and tests would be of something else.
InstructionSet ChooseAloud() {
  const char* wanted = std::getenv(kVariable);
  const InstructionSetChoice choice = ChooseInstructionSet(wanted == nullptr ? "" : wanted);
  if (!choice.complaint.empty()) std::fprintf(stderr, "polarkv: %s\n", choice.complaint.c_str());
  return choice.set;
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

InstructionSetChoice ChooseInstructionSet(std::string_view wanted) {
  InstructionSet best = InstructionSet::kScalar;
  for (InstructionSet set : kInstructionSets) {
    if (!Supports(set)) continue;
    if (InstructionSetName(set) == wanted) return {set, ""};
    best = set;
  }
  return {best, wanted.empty() ? "" : Complaint(wanted, best)};
}

InstructionSet BestInstructionSet() {
  static const InstructionSet best = ChooseAloud();
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
