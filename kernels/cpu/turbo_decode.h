// One side of one tile of turbo codes -> rows of numbers: codec/reference_decode.cc's numbers, bit for bit.
//
// Plain structs and pointers only, for the reason that turbo_attention.h gives.
#ifndef POLARKV_KERNELS_CPU_TURBO_DECODE_H_
#define POLARKV_KERNELS_CPU_TURBO_DECODE_H_

#include <cstdint>

#include "kernels/cpu/turbo_table.h"

namespace polarkv::cpu {

// What the tiles of one side of a block share.
struct TurboDecoderShape {
  uint32_t bits = 0;      // as the planes held allow: 2, 3 or 4
  uint32_t head_dim = 0;  // 64, 128, 192 or 256
  bool keys = false;
  bool rotated = false;           // leave coordinates in the rotated domain
  uint32_t dtype = 0;             // of the rows to write: Dtype as a number
  bool converts_bf16 = false;     // the machine has AVX512_BF16
  // The sign bits of the coordinates that the rotation negates, of numbers of either width; [head_dim], 64-byte aligned.
  const uint16_t* sign_bits16 = nullptr;
  const uint32_t* sign_bits32 = nullptr;
  static constexpr int kImageOffset = 128;
  TurboTable table;  // with kImageOffset
};

struct TurboDecodeTile {
  const uint8_t* crumbs = nullptr;
  const uint8_t* refine1 = nullptr;
  const uint8_t* refine0 = nullptr;
  // What a token's images, transformed back unless they stay rotated, are to be multiplied with.
  alignas(64) float factor[64];
  uint32_t tokens = 0;      // 1..64
  uint8_t* rows = nullptr;  // [tokens][head_dim], contiguous
};

// Every number is a product in f32 (magnitudes beyond the largest float become that), rounded
// to the dtype, beyond whose largest finite number nothing comes out either. Needs InstructionSet::kAvx512 and a
// floating-point environment that rounds to nearest and keeps subnormals.
void TurboDecodeAvx512(const TurboDecoderShape& shape, const TurboDecodeTile& tile);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_DECODE_H_
