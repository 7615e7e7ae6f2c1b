// One side of one tile of rows -> turbo codes in their bit planes and a scale a token: the bits of codec/turbo_tile.h.
//
// Plain structs and pointers only, for the reason that turbo_attention.h gives.
#ifndef POLARKV_KERNELS_CPU_TURBO_ENCODE_H_
#define POLARKV_KERNELS_CPU_TURBO_ENCODE_H_

#include <cstdint>

namespace polarkv::cpu {

// AtomPlace of codec/code_order.h.
struct TrellisPlace {
  uint32_t base_word, refine_word, vector;
};

// What the tiles of one side of a block share.
struct TurboEncoderShape {
  uint32_t bits = 0;      // 1 to 5; with AVX-512 2, 3 or 4
  uint32_t head_dim = 0;  // with AVX-512 64, 128, 192 or 256
  bool keys = false;
  uint32_t dtype = 0;             // of the rows: Dtype as a number
  // The sign bits of the coordinates that the rotation negates, of numbers of either width; [head_dim], 64-byte aligned.
  const uint16_t* sign_bits16 = nullptr;
  const uint32_t* sign_bits32 = nullptr;
  const TrellisPlace* places = nullptr;  // of trellis codes: [atom][row], as KeyAtom or ValueAtom say
  float gain = 0;                 // RotationGain(head_dim)
  float rotated_norm = 0;         // RotatedNorm(head_dim)
  float to_unit_variance = 0;     // kToUnitVariance
};

struct TurboEncodeRows {
  const uint8_t* data = nullptr;  // token 0; coordinates are contiguous
  int64_t token_bytes = 0;        // from one token to the next
  uint32_t tokens = 0;            // 1..64
  uint64_t counted = ~uint64_t{0};  // tokens whose bit is clear are read, but get the codes and the scale of a missing one
  const uint8_t* next = nullptr;  // what will be read next, to be fetched meanwhile; null: the rows that follow these
};

// Where the codes go, every byte of the planes that the codec has, padding tokens as zeros; and the scales, not yet
// rounded: mantissa * 2^exponent, mantissa 0 for zero vectors and padding tokens.
struct TurboEncodedTile {
  uint8_t* crumbs = nullptr;
  uint8_t* refine1 = nullptr;
  uint8_t* refine0 = nullptr;
  alignas(64) float mantissa[64];
  alignas(64) int32_t exponent[64];
  // Squared error of a token's codes under that scale, as a part of its squared norm; 0 for zero vectors. To 1e-3 of itself
  // and 1e-6: for a look at which tokens err much.
  alignas(64) float error[64];
};

// The 64 scales in steps of 1/64 octave, rounded as codec/log_scale.h does; kNoStep for the scale 0.
inline constexpr int32_t kNoStep = INT32_MIN;
struct ScaleTables {
  alignas(64) float thresholds[64];
  alignas(64) int32_t below[64];  // how many thresholds are at or below 1 + i/64
};
void ScaleStepsAvx512(const ScaleTables& tables, const TurboEncodedTile& tile, int32_t* steps);

// False if a number is not finite; the planes are unspecified then. Needs InstructionSet::kAvx512 and a floating-point
// environment that rounds to nearest and keeps subnormals.
bool TurboEncodeAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_ENCODE_H_
