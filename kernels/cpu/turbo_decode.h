// One side of one tile of turbo or trellis codes -> rows of numbers: codec/reference_decode.cc's numbers, bit for bit.
//
// Plain structs and pointers only, for the reason that turbo_attention.h gives.
#ifndef POLARKV_KERNELS_CPU_TURBO_DECODE_H_
#define POLARKV_KERNELS_CPU_TURBO_DECODE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/turbo_table.h"

namespace polarkv::cpu {

// What the tiles of one side of a block share.
struct TurboDecoderShape {
  CodeKind kind = CodeKind::kNone;  // as the planes held allow
  uint32_t head_dim = 0;
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
  const uint8_t* plane[4] = {};  // those that the kind has: crumbs, then the bits below them; or bits alone
  uint32_t stride[4] = {};       // to the tile that is to be read ahead
  // What a token's images, transformed back unless they stay rotated, are to be multiplied with.
  alignas(64) float factor[64];
  uint32_t tokens = 0;      // 1..64
  uint8_t* rows = nullptr;  // [tokens][head_dim], contiguous
};

// Every number is a product in f32 (magnitudes beyond the largest float become that), rounded
// to the dtype, beyond whose largest finite number nothing comes out either. Needs InstructionSet::kAvx512 and a
// floating-point environment that rounds to nearest and keeps subnormals. Of head dims that are multiples of 64.
void TurboDecodeAvx512(const TurboDecoderShape& shape, const TurboDecodeTile& tile);

// `count` finite floats, a multiple of 32, to the dtype (as a number), rounded and limited like that.
void NarrowAvx512(const float* from, size_t count, uint32_t dtype, uint8_t* to);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TURBO_DECODE_H_
