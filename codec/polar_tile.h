// polar44: PolarQuant on RoPE pairs, one side of one tile (FORMAT.md, "Polar codes"; Wu et al., arXiv 2502.00527).
//
// Payload: PolarParameters[head_dim / 2], then codes [head_dim / 2][64 tokens], one byte angle | radius << 4.
// A pair is stored times 2^-exponent, the exponent being the tile's. Mended against the paper's code: the circle is cut
// in the widest gap between the angles, so that neighbours on both sides of 0 stay neighbours; an empty range is step
// 0.
#ifndef POLARKV_CODEC_POLAR_TILE_H_
#define POLARKV_CODEC_POLAR_TILE_H_

#include <cstdint>

#include "codec/block_spec.h"

namespace polarkv {

inline constexpr uint32_t kPolarLevels = 16;  // of the angle, and of the radius

struct PolarParameters {
  uint16_t angle_min;    // in 1/65536 turn
  uint16_t angle_step;   // fp16, in 1/65536 turn
  uint16_t radius_min;   // fp16
  uint16_t radius_step;  // fp16
};
static_assert(sizeof(PolarParameters) == 8);

// Encodes `tokens` (1..64) contiguous finite rows of head_dim into an all-zero payload; returns the tile exponent.
int EncodePolarTile(const float* rows, uint32_t tokens, uint32_t head_dim, const Rope& rope, uint8_t* payload);

// One pair of a tile, ready for look-up: a token's coordinates are radius[code >> 4] * (cosine, sine)[code & 15].
struct PolarPair {
  float cosine[kPolarLevels];
  float sine[kPolarLevels];
  float radius[kPolarLevels];
  const uint8_t* codes;  // [64 tokens], in the payload
};
PolarPair ReadPolarPair(const uint8_t* payload, uint32_t head_dim, uint32_t pair);

}  // namespace polarkv

#endif  // POLARKV_CODEC_POLAR_TILE_H_
