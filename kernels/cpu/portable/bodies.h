// The portable bodies, one namespace for each instruction set that they are compiled for. Which are there in a program:
// on x86-64 avx2 (AVX2, FMA, F16C, BMI) and vector128 (SSSE3, SSE4.1, SSE4.2); elsewhere vector128 alone, compiled for what
// the whole program is compiled for: AArch64 (with the dot product if that has it), wasm32 with simd128.
#ifndef POLARKV_KERNELS_CPU_PORTABLE_BODIES_H_
#define POLARKV_KERNELS_CPU_PORTABLE_BODIES_H_

#include "kernels/cpu/key_mean_rows.h"
#include "kernels/cpu/turbo_attention.h"
#include "kernels/cpu/turbo_decode.h"
#include "kernels/cpu/turbo_encode.h"

// As the bodies for AVX-512 that trellis_encode.h, turbo_encode.h and key_mean_rows.h declare; of codes of any bits, any head
// dim, and pairs in their own order of which `distance` is a multiple of 8.
#define POLARKV_DECLARE_BODIES                                                                                  \
  void TurboAttend(const TurboReader& reader, const TurboTiles& tiles, const TurboQuery* queries, TurboRowState* states, \
                   uint32_t rows, const TurboExtras* extras);                                                   \
  void TurboDecode(const TurboDecoderShape& shape, const TurboDecodeTile& tile);                                \
  bool TurboEncode(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile);        \
  bool TrellisEncode(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile);      \
  void ScaleSteps(const ScaleTables& tables, const TurboEncodedTile& tile, int32_t* steps);                     \
  void KeyDirections(const uint64_t* phases, uint64_t position, uint32_t pairs, float* cosine, float* sine);    \
  void SumKeys(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t stride, const KeyPairs& pairs, \
               const PairNumbers& step, PairNumbers& sum, float* energy);                                       \
  uint64_t TakeMeanOff(const TurboEncoderShape& shape, const TurboEncodeRows& rows, const KeyPairs& pairs,      \
                       const PairNumbers& mean, const float* turns, float half_square, float* residual);

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
