// What a reader may rely on inside a base-plane segment besides its checksum: a checksum tells damage from intact bytes,
// not sane numbers from hostile ones. Internal to codec/.
#ifndef POLARKV_CODEC_TILE_CHECK_H_
#define POLARKV_CODEC_TILE_CHECK_H_

#include <cstdint>
#include <span>

#include "codec/block_layout.h"

namespace polarkv {

// What is known of a tile before it is read.
struct TileFacts {
  uint32_t tokens = 0;        // valid tokens, 1..64
  uint32_t first_escape = 0;  // escape records of the tiles before it
};

// First defect of a base-plane tile, or nullptr. `tile` has layout.base_tile.bytes.
const char* TileDefect(const LayerLayout& layout, uint32_t head_dim, std::span<const uint8_t> tile, TileFacts facts);
// Of a tile of the residual plane, whose base tile is free of defects.
const char* ResidualTileDefect(std::span<const uint8_t> base_tile, std::span<const uint8_t> tile, uint32_t tokens);
// Of a record of VectorRecordBytes(head_dim).
const char* VectorRecordDefect(std::span<const uint8_t> record);

// Escape records that a tile calls its own.
uint32_t TileEscapes(std::span<const uint8_t> tile);

}  // namespace polarkv

#endif  // POLARKV_CODEC_TILE_CHECK_H_
