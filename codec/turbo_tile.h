// turbo2, turbo3, turbo4: one side of one tile (FORMAT.md, "Turbo codes").
#ifndef POLARKV_CODEC_TURBO_TILE_H_
#define POLARKV_CODEC_TURBO_TILE_H_

#include <cstdint>

#include "codec/code_planes.h"
#include "codec/turbo_quantizer.h"

namespace polarkv {

// Encodes `tokens` (1..64) contiguous finite rows of head_dim into all-zero planes and scales (fp16 [64]); returns the
// tile exponent.
int EncodeTurboTile(const TurboQuantizer& quantizer, const float* rows, uint32_t tokens,
                    const CodePlanes<uint8_t>& planes, uint8_t* scales);

}  // namespace polarkv

#endif  // POLARKV_CODEC_TURBO_TILE_H_
