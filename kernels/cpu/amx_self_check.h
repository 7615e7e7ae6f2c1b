// Whether AMX attention on the processor's tiles gives what emulated tiles give.
#ifndef POLARKV_KERNELS_CPU_AMX_SELF_CHECK_H_
#define POLARKV_KERNELS_CPU_AMX_SELF_CHECK_H_

#include "kernels/cpu/turbo_bodies.h"

namespace polarkv::cpu {

// Runs `body` and TurboAttendEmulatedAmx on small random problems; true if all results have the same bits. Needs
// InstructionSet::kAvx512 and whatever `body` needs.
bool PassesAmxSelfCheck(TurboAttendBody* body);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_SELF_CHECK_H_
