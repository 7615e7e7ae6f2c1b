// Attention on tiles that were decoded to floats, for codecs whose codes have no body of their own; and readers that decode
// them. Plain structs and pointers only, as in turbo_attention.h. Everything here needs InstructionSet::kAvx512.
#ifndef POLARKV_KERNELS_CPU_MATRIX_ATTENTION_H_
#define POLARKV_KERNELS_CPU_MATRIX_ATTENTION_H_

#include <cstdint>

#include "kernels/cpu/turbo_attention.h"

namespace polarkv::cpu {

// One side of a tile: [64][head_dim] if by token, else [head_dim][64].
struct SideMatrix {
  const float* value = nullptr;  // aligned to 64 bytes
  bool by_token = false;
};

struct MatrixTile {
  SideMatrix keys, values;
  float key_factor[64], value_factor[64];  // by token
  uint32_t tokens = 0, head_dim = 0;
};

// A query's coordinates as the keys have them, and the factor that makes log2-domain logits of products.
struct MatrixQuery {
  const float* x = nullptr;
  float unit = 0;
};

// Adds a tile's tokens to the rows' states, their values to output + first_output. `extras`: of the tile, with probabilities.
void AttendMatrixAvx512(const MatrixTile& tile, const MatrixQuery* queries, TurboRowState* states, uint32_t rows,
                        uint32_t first_output, const TurboExtras& extras);

// fp16 [64][head_dim] -> by token.
void ReadHalfMatrix(const uint8_t* payload, uint32_t head_dim, float* out);
// The others -> [head_dim][64], the numbers of codec/; polar codes' directions to fp32's accuracy.
void ReadDeepMatrix(uint32_t symbol_bits, uint32_t coordinates, const uint8_t* payload, uint32_t head_dim, float* out);

// Polar codes that are bytes, with angles of at most 4 bits. Pair p stands for coordinates pairs[p][0] and pairs[p][1].
void ReadPolarMatrix(uint32_t angle_bits, const uint16_t (*pairs)[2], const uint8_t* payload, uint32_t head_dim, float* out);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_MATRIX_ATTENTION_H_
