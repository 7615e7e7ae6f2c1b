// fp16 passthrough: one side of one tile as [64 tokens][head_dim] halves times 2^exponent.
#ifndef POLARKV_CODEC_HALF_TILE_H_
#define POLARKV_CODEC_HALF_TILE_H_

#include <cstdint>

namespace polarkv {

// Encodes `tokens` (1..64) contiguous finite rows of head_dim into an all-zero payload; returns the tile exponent,
// which is 0 unless the tile's largest magnitude is no normal half: fp16 sources pass bit by bit, save that a tile of
// subnormals alone is stored scaled.
int EncodeHalfTile(const float* rows, uint32_t tokens, uint32_t head_dim, uint8_t* payload);

}  // namespace polarkv

#endif  // POLARKV_CODEC_HALF_TILE_H_
