// Which vector instructions this machine has, found out at run time.
#ifndef POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_
#define POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_

#include <array>
#include <string_view>

namespace polarkv::cpu {

// In ascending order of speed.
enum class InstructionSet {
  kScalar,     // the reference in codec/
  kVector128,  // vectors of 128 bits: SSE4.2 on x86-64; on AArch64 and wasm32 what the program is compiled for
  kAvx2,       // AVX2, FMA, F16C, BMI and BMI2
  kAvx512,     // F, BW, VL, DQ, VBMI (byte permutes) and VNNI (integer dot products)
};
inline constexpr std::array<InstructionSet, 4> kInstructionSets = {InstructionSet::kScalar, InstructionSet::kVector128,
                                                                   InstructionSet::kAvx2, InstructionSet::kAvx512};

bool Supports(InstructionSet set);
// The fastest that the machine supports, or what the environment variable POLARKV_INSTRUCTION_SET names if it does support
// that. Looked at once.
InstructionSet BestInstructionSet();
// "scalar", "vector128", "avx2", "avx512".
std::string_view InstructionSetName(InstructionSet set);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_
