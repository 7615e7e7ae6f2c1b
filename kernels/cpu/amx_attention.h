// Attention of a KV head's queries over tiles of turbo or trellis codes with AMX int8 products: for groups of queries, where one decode of
// the codes serves sixteen rows and the processor multiplies them at once.
//
// Shapes and arithmetic as TurboAttendAvx512's; sums of the output are taken in another order.
#ifndef POLARKV_KERNELS_CPU_AMX_ATTENTION_H_
#define POLARKV_KERNELS_CPU_AMX_ATTENTION_H_

#include "kernels/cpu/turbo_attention.h"

namespace polarkv::cpu {

// Up to that many rows TurboAttendAvx512 is the faster of the two.
inline constexpr uint32_t kMostRowsWithoutAmx = 4;
inline constexpr uint32_t kAmxHeadDimUnit = 64;  // head_dim is a multiple of

// Needs InstructionSet::kAmx.
void TurboAttendAmx(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                    uint32_t rows, const TurboExtras* extras);

// The same body on emulated tile registers, with the same results to the bit. Slow; for tests and for the check of the
// processor's tiles. Needs InstructionSet::kAvx512.
void TurboAttendEmulatedAmx(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries,
                            TurboRowState* states, uint32_t rows, const TurboExtras* extras);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_AMX_ATTENTION_H_
