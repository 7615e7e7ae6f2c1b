#include "codec/block_layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "codec/band_table.h"

namespace polarkv {
namespace {

uint64_t Padded(uint64_t bytes) { return (bytes + kSegmentAlignment - 1) / kSegmentAlignment * kSegmentAlignment; }

uint32_t ScaleBytes(const CodecTraits& codec) { return codec.has_scales ? kTileTokens : 0; }
// One bit a coordinate.
uint32_t BitPlaneBytes(uint32_t head_dim) { return kTileTokens * head_dim / 8; }
uint32_t ResidualTileBytes(uint32_t head_dim) { return kResidualNormBytes + BitPlaneBytes(head_dim); }

BaseTileLayout MakeBaseTile(const CodecTraits& k, const CodecTraits& v, uint32_t head_dim) {
  BaseTileLayout tile;
  tile.k_scales = sizeof(TileHead);
  tile.v_scales = tile.k_scales + ScaleBytes(k);
  tile.k_payload = tile.v_scales + ScaleBytes(v);
  tile.v_payload = tile.k_payload + PayloadBytes(k, head_dim);
  tile.bytes = tile.v_payload + PayloadBytes(v, head_dim);
  return tile;
}

}  // namespace

// Lengths are computed in 64 bits; they fit 32 where the whole block is in its limit.
LayerLayout MakeLayerLayout(const BlockSpec& spec, const LayerPart& part) {
  const CodecTraits& k = TraitsOf(part.codec.k);
  const CodecTraits& v = TraitsOf(part.codec.v);
  const uint64_t head_tiles = uint64_t{spec.kv_heads} * spec.tiles();
  const uint64_t record = VectorRecordBytes(spec.head_dim);
  const uint32_t refine = BitPlaneBytes(spec.head_dim);
  LayerLayout layer;
  layer.codec = part.codec;
  layer.key_mean = part.key_mean;
  layer.escapes = part.escapes;
  layer.base_tile = MakeBaseTile(k, v, spec.head_dim);
  layer.tile_bytes = {layer.base_tile.bytes,
                      k.refine_planes >= 1 ? refine : 0,
                      v.refine_planes >= 1 ? refine : 0,
                      k.refine_planes >= 2 ? refine : 0,
                      v.refine_planes >= 2 ? refine : 0,
                      k.residual_plane ? ResidualTileBytes(spec.head_dim) : 0};
  const uint64_t first_band = part.key_mean && !spec.HasProfile() ? Padded(spec.kv_heads * record) : 0;
  const uint64_t bands = IsBanded(part.codec.k) ? Padded(spec.kv_heads * uint64_t{BandTableBytes(spec.head_dim)}) : 0;
  const uint64_t first_tile = first_band + bands;
  const uint64_t first_escape = first_tile + head_tiles * layer.base_tile.bytes;
  layer.first_band = static_cast<uint32_t>(first_band);
  layer.first_tile = static_cast<uint32_t>(first_tile);
  layer.first_escape = static_cast<uint32_t>(first_escape);
  for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
    if (layer.tile_bytes[kind] != 0) layer.planes |= PlaneMask{1} << kind;
    const uint64_t bytes =
        kind == 0 ? first_escape + Padded(part.escapes * record) : head_tiles * layer.tile_bytes[kind];
    layer.segment_offset[kind] = layer.bytes;
    layer.segment_bytes[kind] = static_cast<uint32_t>(bytes);
    layer.bytes += bytes;
  }
  return layer;
}

uint32_t ExtensionBytes(const BlockSpec& spec) {
  const uint64_t layer_table = spec.HasLayerTable() ? spec.layers * sizeof(LayerEntry) : 0;
  const uint64_t phase_table = spec.HasPhaseTable() ? spec.rope.dims / 2 * sizeof(uint64_t) : 0;
  return static_cast<uint32_t>(Padded(layer_table + phase_table));
}

absl::StatusOr<BlockLayout> BlockLayout::Make(const BlockSpec& spec) {
  if (absl::Status s = ValidateBlockSpec(spec); !s.ok()) return s;
  BlockLayout layout;
  layout.layers_ = spec.layers;
  layout.tiles_ = spec.tiles();
  if (spec.HasLayerTable()) {
    layout.offset_of_.push_back(0);
    for (uint32_t layer = 0; layer < spec.layers; ++layer) {
      layout.shape_of_.push_back(static_cast<uint16_t>(layer));
      layout.shapes_.push_back(MakeLayerLayout(spec, spec.layer_parts[layer]));
      layout.offset_of_.push_back(layout.offset_of_.back() + layout.shapes_.back().bytes);
    }
  } else {
    layout.shapes_.push_back(MakeLayerLayout(spec, LayerPart{spec.codec}));
  }
  for (const LayerLayout& shape : layout.shapes_) layout.plane_mask_ |= shape.planes;
  layout.index_.fill(-1);
  for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
    if ((layout.plane_mask_ >> kind & 1) == 0) continue;
    layout.kinds_[layout.planes_] = static_cast<PlaneKind>(kind);
    layout.index_[kind] = static_cast<int>(layout.planes_++);
  }
  layout.extension_bytes_ = ExtensionBytes(spec);
  layout.payload_offset_ =
      Padded(layout.directory_offset() + uint64_t{layout.directory_entries()} * sizeof(DirectoryEntry));
  // 64-bit throughout: with every field at its limit a block would have more than 2^46 bytes.
  if (layout.total_bytes() > kMaxBlockBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a block of ", spec.layers, " layers, ", spec.kv_heads, " heads and ", spec.tokens, " tokens would have ",
        layout.total_bytes(), " bytes; the limit is ", kMaxBlockBytes, ": use fewer tokens a block or more shards"));
  }
  return layout;
}

BitsPerCoordinate CodecBits(CodecPair codec, uint32_t head_dim) {
  const auto bits = [head_dim](CodecId id) {
    const CodecTraits& traits = TraitsOf(id);
    const uint32_t bytes = static_cast<uint32_t>(sizeof(TileHead)) / 2 + ScaleBytes(traits) +
                           PayloadBytes(traits, head_dim) + traits.refine_planes * BitPlaneBytes(head_dim) +
                           (traits.residual_plane ? ResidualTileBytes(head_dim) : 0);
    return 8.0 * bytes / (kTileTokens * head_dim);
  };
  return {bits(codec.k), bits(codec.v)};
}

}  // namespace polarkv
