// Attention of a KV head's queries over tiles of turbo codes with AMX int8 products: for groups of queries, where one decode of
// the codes serves sixteen rows and the processor multiplies them at once.
//
// Shapes and arithmetic as TurboAttendAvx512's; sums of the output are taken in another order.
#ifndef POLARKV_KERNELS_CPU_AMX_ATTENTION_H_
#define POLARKV_KERNELS_CPU_AMX_ATTENTION_H_

#include "kernels/cpu/turbo_attention.h"

namespace polarkv::cpu {

// Up to that many rows TurboAttendAvx512 is the faster of the two.
inline constexpr uint32_t kMostRowsWithoutAmx = 4;

// Needs InstructionSet::kAmx.
TurboBody TurboAttendAmx;

// The same body on emulated tile registers, with the same results to the bit. Slow; for tests and for the check of the
// processor's tiles. Needs InstructionSet::kAvx512.
TurboBody TurboAttendEmulatedAmx;

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_ATTENTION_H_
