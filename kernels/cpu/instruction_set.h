// Which vector instructions this machine has, found out at run time.
#ifndef POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_
#define POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_

#include <string_view>

namespace polarkv::cpu {

enum class InstructionSet {
  kScalar,
  kAvx512,  // F, BW, VL, VBMI (byte permutes) and VNNI (integer dot products)
};

bool Supports(InstructionSet set);
InstructionSet BestInstructionSet();
std::string_view InstructionSetName(InstructionSet set);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_INSTRUCTION_SET_H_
