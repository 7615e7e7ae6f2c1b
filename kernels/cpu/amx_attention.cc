// Compiled for AVX-512 with VBMI and VNNI and for AMX; called only where the machine has them (see turbo_attention.h on ODR).
#include "kernels/cpu/amx_attention.h"

#include "kernels/cpu/amx_attention_body.h"
#include "kernels/cpu/amx_unit.h"

namespace polarkv::cpu {

void TurboAttendAmx(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states,
                    uint32_t rows, const TurboExtras* extras) {
  AttendOn<AmxUnit>(reader, tiles, queries, states, rows, extras);
}

}  // namespace polarkv::cpu
