// Which vector instructions this machine has, found out at run time.
#ifndef POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_
#define POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_

#include <array>
#include <string>
#include <string_view>

namespace polarkv::cpu {

// In ascending order of speed.
enum class InstructionSet {
  kScalar,     // the reference in codec/
  kVector128,  // vectors of 128 bits: SSE4.2 on x86-64; on AArch64 and wasm32 what the program is compiled for
  kAvx2,       // AVX2, FMA, F16C, BMI and BMI2
  kAvx512,     // F, BW, VL, DQ, VBMI (byte permutes) and VNNI (integer dot products)
  kAmx,        // that and AMX with int8 products, which the process may use and which were tried (amx_support.h)
};
inline constexpr std::array<InstructionSet, 5> kInstructionSets = {InstructionSet::kScalar, InstructionSet::kVector128,
                                                                   InstructionSet::kAvx2, InstructionSet::kAvx512,
                                                                   InstructionSet::kAmx};

bool Supports(InstructionSet set);
// Whether bodies for AVX-512 run with `set`.
constexpr bool HasAvx512(InstructionSet set) { return set == InstructionSet::kAvx512 || set == InstructionSet::kAmx; }
struct InstructionSetChoice {
  InstructionSet set;
  std::string complaint;  // why it is not the one wanted; empty if it is, or if none was wanted
};
// The set of that name if the machine supports it, else the fastest that it supports.
InstructionSetChoice ChooseInstructionSet(std::string_view wanted);
// What the environment variable POLARKV_INSTRUCTION_SET chooses. Looked at once; a complaint goes to standard error then.
InstructionSet BestInstructionSet();
// "scalar", "vector128", "avx2", "avx512", "amx".
std::string_view InstructionSetName(InstructionSet set);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_
