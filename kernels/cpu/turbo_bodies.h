// Which bodies work on turbo and trellis codes for an instruction set.
#ifndef POLARKV_KERNELS_CPU_TURBO_BODIES_H_
#define POLARKV_KERNELS_CPU_TURBO_BODIES_H_

#include <cstdint>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/turbo_attention.h"
#include "kernels/cpu/turbo_decode.h"

namespace polarkv::cpu {

// TurboAttendAvx512 or one that does the same.
using TurboAttendBody = void(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                             TurboRowState* states, uint32_t rows, const TurboExtras* extras);

// The fastest for so many query rows a KV head. Null: `set` has none.
TurboAttendBody* TurboAttendBodyFor(InstructionSet set, uint32_t head_dim, uint32_t rows);

// TurboDecodeAvx512 or one that does the same, of any kind of codes and head dim.
using TurboDecodeBody = void(const TurboDecoderShape& shape, const TurboDecodeTile& tile);

// Null: `set` has none.
TurboDecodeBody* TurboDecodeBodyFor(InstructionSet set, uint32_t head_dim);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_BODIES_H_
