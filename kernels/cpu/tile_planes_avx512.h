// Where the planes of a run's tiles are, and of those that come after it, so that memory is asked for them early. For
// sources compiled with AVX-512 and VBMI.
#ifndef POLARKV_KERNELS_CPU_TILE_PLANES_AVX512_H_
#define POLARKV_KERNELS_CPU_TILE_PLANES_AVX512_H_

#include "codec/block_format.h"
#include "kernels/cpu/code_lines_avx512.h"
#include "kernels/cpu/turbo_attention.h"

namespace polarkv::cpu {
namespace {

// How many tiles ahead memory is asked for. To the second cache: the first one has too few misses under way for memory's
// latency, and would stall the loads that it can serve.
constexpr uint32_t kTilesAhead = 6;

// The planes of one side of a tile.
inline CodePlanesAt PlanesOf(CodeKind kind, bool third_in_base, const TurboTiles& tiles, uint32_t payload,
                             const uint8_t* const* refine, uint32_t tile) {
  const uint8_t* first = tiles.base + uint64_t{tile} * tiles.base_stride + payload;
  const uint8_t* after_crumbs = first + 16 * tiles.head_dim;
  const uint64_t at = uint64_t{tile} * tiles.refine_stride;
  const uint8_t* refine1 = refine[0] != nullptr ? refine[0] + at : nullptr;
  const uint8_t* refine0 = refine[1] != nullptr ? refine[1] + at : nullptr;
  if (third_in_base || kind == CodeKind::kTrellis3) return {{first, after_crumbs, refine1, refine0}};
  return {{first, refine1, refine0, nullptr}};
}
inline CodePlanesAt KeyPlanes(const TurboReader& reader, const TurboTiles& tiles, uint32_t tile) {
  return PlanesOf(reader.key_kind, reader.key_third_in_base, tiles, tiles.key_crumbs, tiles.key_refine, tile);
}
inline CodePlanesAt ValuePlanes(const TurboReader& reader, const TurboTiles& tiles, uint32_t tile) {
  return PlanesOf(reader.value_kind, reader.value_third_in_base, tiles, tiles.value_crumbs, tiles.value_refine, tile);
}

// A tile of this run, of those that follow, or of the next ones; beyond what is known, the tile itself.
struct TileAt {
  const TurboTiles* run;
  uint32_t tile;
};
inline TileAt Ahead(const TurboTiles& tiles, uint32_t tile, uint32_t distance) {
  const TurboTiles* run = &tiles;
  uint32_t at = tile + distance;
  for (; run != nullptr; run = run->next) {
    const uint32_t there = (run->tokens + kTileTokens - 1) / kTileTokens + run->following;
    if (at < there) return {run, at};
    at -= there;
  }
  return {&tiles, tile};
}

inline void PrefetchHead(const TileAt& at, uint32_t payload) {
  const uint8_t* base = at.run->base + uint64_t{at.tile} * at.run->base_stride;
  for (uint32_t i = 0; i < payload; i += kLineBytes) _mm_prefetch(reinterpret_cast<const char*>(base + i), _MM_HINT_T1);
}

}  // namespace
}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_TILE_PLANES_AVX512_H_
