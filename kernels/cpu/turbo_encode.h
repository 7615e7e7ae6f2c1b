// One side of one tile of rows -> turbo codes in their bit planes and a scale a token: the bits of codec/turbo_tile.h.
//
// Plain structs and pointers only, for the reason that turbo_attention.h gives.
#ifndef POLARKV_KERNELS_CPU_TURBO_ENCODE_H_
#define POLARKV_KERNELS_CPU_TURBO_ENCODE_H_

#include <cstdint>

namespace polarkv::cpu {

// What the tiles of one side of a block share.
struct TurboEncoderShape {
  uint32_t bits = 0;      // 2, 3 or 4
  uint32_t head_dim = 0;  // 64, 128, 192 or 256
  bool keys = false;
  uint32_t dtype = 0;             // of the rows: Dtype as a number
  // The sign bits of the coordinates that the rotation negates, of numbers of either width; [head_dim], 64-byte aligned.
  const uint16_t* sign_bits16 = nullptr;
  const uint32_t* sign_bits32 = nullptr;
  float root_dim = 0;             // sqrt(head_dim)
  float rotation_scale = 0;       // RotationScale(head_dim)
};

struct TurboEncodeRows {
  const uint8_t* data = nullptr;  // token 0; coordinates are contiguous
  int64_t token_bytes = 0;        // from one token to the next
  uint32_t tokens = 0;            // 1..64
};

// Where the codes go, every byte of the planes that the codec has, padding tokens as zeros; and the scales, not yet
// rounded: mantissa * 2^exponent, mantissa 0 for zero vectors and padding tokens.
struct TurboEncodedTile {
  uint8_t* crumbs = nullptr;
  uint8_t* refine1 = nullptr;
  uint8_t* refine0 = nullptr;
  alignas(64) float mantissa[64];
  alignas(64) int32_t exponent[64];
};

// False if a number is not finite; the planes are unspecified then. Needs InstructionSet::kAvx512 and a floating-point
// environment that rounds to nearest and keeps subnormals.
bool TurboEncodeAvx512(const TurboEncoderShape& shape, const TurboEncodeRows& rows, TurboEncodedTile& tile);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_ENCODE_H_
