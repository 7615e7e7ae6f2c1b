// polar<r><t>: PolarQuant on RoPE pairs with radii of r bits and angles of t, one side of one tile (FORMAT.md, "Polar
// codes"; Wu et al., arXiv 2502.00527).
//
// Payload: PolarParameters[head_dim / 2], then codes [head_dim / 2], of each pair a string of 64 * (r + t) bits, token
// after token, lowest bits first: angle | radius << t. A pair is stored times 2^-exponent, the exponent being the
// tile's. Mended against the paper's code: the circle is cut in the widest gap between the angles, so that neighbours
// on both sides of 0 stay neighbours; an empty range is step 0; no code takes more bits than it has.
#ifndef POLARKV_CODEC_POLAR_TILE_H_
#define POLARKV_CODEC_POLAR_TILE_H_

#include <cstdint>

#include "codec/block_format.h"
#include "codec/block_spec.h"

namespace polarkv {

// Bits of a pair's code: each at least 1, together at most 8.
struct PolarBits {
  uint32_t radius;
  uint32_t angle;
};
inline constexpr PolarBits PolarBitsOf(CodecId codec) { return {PolarRadiusBits(codec), PolarAngleBits(codec)}; }
inline constexpr uint32_t kMaxPolarLevels = 128;  // of the angle, and of the radius

struct PolarParameters {
  uint16_t angle_min;    // in 1/65536 turn
  uint16_t angle_step;   // fp16, in 1/65536 turn
  uint16_t radius_min;   // fp16
  uint16_t radius_step;  // fp16
};
static_assert(sizeof(PolarParameters) == 8);

// Encodes `tokens` (1..64) contiguous finite rows of head_dim into an all-zero payload; returns the tile exponent.
int EncodePolarTile(PolarBits bits, const float* rows, uint32_t tokens, uint32_t head_dim, const Rope& rope,
                    uint8_t* payload);

// One pair of a tile, ready for look-up: a token's coordinates are radius[r] * (cosine, sine)[a] with r and a from its
// code.
struct PolarPair {
  PolarBits bits;
  float cosine[kMaxPolarLevels];
  float sine[kMaxPolarLevels];
  float radius[kMaxPolarLevels];
  uint8_t codes[kTileTokens];  // angle | radius << bits.angle

  uint32_t Angle(uint32_t token) const { return codes[token] & ((1u << bits.angle) - 1); }
  uint32_t Radius(uint32_t token) const { return codes[token] >> bits.angle; }
};
void ReadPolarPair(PolarBits bits, const uint8_t* payload, uint32_t head_dim, uint32_t pair, PolarPair& out);

}  // namespace polarkv

#endif  // POLARKV_CODEC_POLAR_TILE_H_
