// The portable bodies, one namespace for each instruction set that they are compiled for. Which are there in a program:
// on x86-64 avx2 (AVX2, FMA, F16C, BMI) and vector128 (SSSE3, SSE4.1, SSE4.2); elsewhere vector128 alone, compiled for what
// the whole program is compiled for: AArch64 (with the dot product if that has it), wasm32 with simd128.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_BODIES_H_
#define POLARKV_KERNELS_CPU_PORTABLE_BODIES_H_

#include "kernels/cpu/turbo_attention.h"
#include "kernels/cpu/turbo_decode.h"

#define POLARKV_DECLARE_BODIES                                                                                  \
  void TurboAttend(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states, \
                   uint32_t rows, const TurboExtras* extras);                                                   \
  void TurboDecode(const TurboDecoderShape& shape, const TurboDecodeTile& tile);

namespace polarkv::cpu {
namespace avx2 {
POLARKV_DECLARE_BODIES
}
namespace vector128 {
POLARKV_DECLARE_BODIES
}
}  // namespace polarkv::cpu

#undef POLARKV_DECLARE_BODIES

#endif  // POLARKV_KERNELS_CPU_PORTABLE_BODIES_H_
