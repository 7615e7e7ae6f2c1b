// Which vector instructions this machine has, found out at run time.
#ifndef POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_
#define POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_

#include <array>
#include <string_view>

namespace polarkv::cpu {

// In ascending order of speed.
enum class InstructionSet {
  kScalar,  // the reference in codec/
  kAvx512,  // F, BW, VL, DQ, VBMI (byte permutes) and VNNI (integer dot products)
};
inline constexpr std::array<InstructionSet, 2> kInstructionSets = {InstructionSet::kScalar, InstructionSet::kAvx512};

bool Supports(InstructionSet set);
// The fastest that the machine supports, or what the environment variable POLARKV_INSTRUCTION_SET names if it does support
// that. Looked at once.
InstructionSet BestInstructionSet();
// "scalar", "avx512".
std::string_view InstructionSetName(InstructionSet set);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_
