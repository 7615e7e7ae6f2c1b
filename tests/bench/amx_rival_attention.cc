#include "tests/bench/amx_rival_attention.h"

#include "kernels/cpu/amx_unit.h"
#include "tests/bench/amx_rival_body.h"

namespace polarkv::bench {

void AttendAmxBf16(const uint16_t* k, const uint16_t* v, uint32_t tokens, const uint16_t* q, uint32_t rows, float* o, float* lse) {
  AttendOn<cpu::AmxUnit>(k, v, tokens, q, rows, o, lse);
}

}  // namespace polarkv::bench
