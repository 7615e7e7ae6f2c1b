// Which bodies work on turbo and trellis codes for an instruction set.
#ifndef POLARKV_KERNELS_CPU_TURBO_BODIES_H_
#define POLARKV_KERNELS_CPU_TURBO_BODIES_H_

#include <cstdint>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/key_mean_rows.h"
#include "kernels/cpu/turbo_attention.h"
#include "kernels/cpu/turbo_decode.h"
#include "kernels/cpu/turbo_encode.h"

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

// TurboEncodeAvx512, TrellisEncodeAvx512 or one that does the same, of codes of so many bits. Null: `set` has none.
using TurboEncodeBody = bool(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile);
TurboEncodeBody* TurboEncodeBodyFor(InstructionSet set, bool trellis, uint32_t bits, uint32_t head_dim);

// ScaleStepsAvx512 or one that does the same. Null: `set` has none.
using ScaleStepsBody = void(const ScaleTables& tables, const TurboEncodedTile& tile, int32_t* steps);
ScaleStepsBody* ScaleStepsBodyFor(InstructionSet set);

// What works on keys' means (key_mean_rows.h), and in which order it has the pairs.
struct KeyMeanBodies {
  void (*directions)(const uint64_t* phases, uint64_t position, uint32_t pairs, float* cosine, float* sine) = nullptr;
  void (*sum)(const TurboEncoderShape& shape, const TurboEncodeRows& rows, uint32_t stride, const KeyPairs& pairs,
              const PairNumbers& step, PairNumbers& sum, float* energy) = nullptr;
  uint64_t (*take_off)(const TurboEncoderShape& shape, const TurboEncodeRows& rows, const KeyPairs& pairs,
                       const PairNumbers& mean, const float* turns, float half_square, float* residual) = nullptr;
  KeyPairs pairs;
};
// `distance`: from one coordinate of a pair to the other if RoPE pairs halves, 0 otherwise; `turned`: pairs that it turns.
// Null, but for the pairs in their own order: `set` has no bodies for such.
KeyMeanBodies KeyMeanBodiesFor(InstructionSet set, uint32_t head_dim, uint32_t distance, uint32_t turned);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_BODIES_H_
