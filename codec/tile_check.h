// What a reader may rely on inside a base-plane tile besides its checksum: a checksum tells damage from intact bytes,
// not sane numbers from hostile ones. Internal to codec/.
#ifndef POLARKV_CODEC_TILE_CHECK_H_
#define POLARKV_CODEC_TILE_CHECK_H_

#include <cstdint>
#include <span>

#include "codec/block_layout.h"

namespace polarkv {

// First defect of a base-plane tile that holds `tokens` valid tokens, or nullptr. `tile` has layout.base_tile().bytes.
const char* TileDefect(const BlockSpec& spec, const BaseTileLayout& layout, std::span<const uint8_t> tile,
                       uint32_t tokens);

}  // namespace polarkv

#endif  // POLARKV_CODEC_TILE_CHECK_H_
