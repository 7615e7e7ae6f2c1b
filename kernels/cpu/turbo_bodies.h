// Which body computes attention on turbo and trellis codes for an instruction set.
#ifndef POLARKV_KERNELS_CPU_TURBO_BODIES_H_
#define POLARKV_KERNELS_CPU_TURBO_BODIES_H_

#include <cstdint>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/turbo_attention.h"

namespace polarkv::cpu {

// TurboAttendAvx512 or one that does the same.
using TurboAttendBody = void(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                             TurboRowState* states, uint32_t rows, const TurboExtras* extras);

// The fastest for so many query rows a KV head. Null: `set` has none.
TurboAttendBody* TurboAttendBodyFor(InstructionSet set, uint32_t head_dim, uint32_t rows);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_BODIES_H_
