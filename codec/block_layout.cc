#include "codec/block_layout.h"

#include "absl/strings/str_cat.h"

namespace polarkv {
namespace {

constexpr uint32_t kScaleBytes = 2 * kTileTokens;  // one fp16 a token

// Bytes of one codec's parts of a tile; FORMAT.md, "Tiles", has the same table.
struct CodecTile {
  uint32_t scales = 0;
  uint32_t payload = 0;  // in the base plane
  uint32_t refine_planes = 0;
};

CodecTile TileOf(CodecId codec, uint32_t head_dim) {
  switch (codec) {
    case CodecId::kFp16:
      return {0, 2 * kTileTokens * head_dim, 0};
    case CodecId::kTurbo2:
      return {kScaleBytes, kTileTokens * head_dim / 4, 0};
    case CodecId::kTurbo3:
      return {kScaleBytes, kTileTokens * head_dim / 4, 1};
    case CodecId::kTurbo4:
      return {kScaleBytes, kTileTokens * head_dim / 4, 2};
    case CodecId::kPolar44:  // per pair of coordinates: four fp16 parameters, one byte a token
      return {0, head_dim / 2 * (4 * 2 + kTileTokens), 0};
  }
  return {};
}

uint32_t RefinePlaneBytes(uint32_t head_dim) { return kTileTokens * head_dim / 8; }

BaseTileLayout MakeBaseTile(const CodecTile& k, const CodecTile& v) {
  BaseTileLayout tile;
  tile.k_scales = sizeof(TileHead);
  tile.v_scales = tile.k_scales + k.scales;
  tile.k_payload = tile.v_scales + v.scales;
  tile.v_payload = tile.k_payload + k.payload;
  tile.bytes = tile.v_payload + v.payload;
  return tile;
}

}  // namespace

void BlockLayout::AddPlane(PlaneKind kind, uint32_t tile_bytes) {
  kinds_[planes_] = kind;
  index_[static_cast<uint32_t>(kind)] = static_cast<int>(planes_);
  tile_bytes_[planes_] = tile_bytes;
  plane_mask_ |= PlaneBit(kind);
  ++planes_;
}

absl::StatusOr<BlockLayout> BlockLayout::Make(const BlockSpec& spec) {
  if (absl::Status s = ValidateBlockSpec(spec); !s.ok()) return s;
  const CodecTile k = TileOf(spec.codec.k, spec.head_dim);
  const CodecTile v = TileOf(spec.codec.v, spec.head_dim);
  const uint32_t refine = RefinePlaneBytes(spec.head_dim);
  BlockLayout layout;
  layout.layers_ = spec.layers;
  layout.tiles_ = spec.tiles();
  layout.index_.fill(-1);
  layout.base_tile_ = MakeBaseTile(k, v);
  layout.AddPlane(PlaneKind::kBase, layout.base_tile_.bytes);
  if (k.refine_planes >= 1) layout.AddPlane(PlaneKind::kKeyRefine1, refine);
  if (v.refine_planes >= 1) layout.AddPlane(PlaneKind::kValueRefine1, refine);
  if (k.refine_planes >= 2) layout.AddPlane(PlaneKind::kKeyRefine0, refine);
  if (v.refine_planes >= 2) layout.AddPlane(PlaneKind::kValueRefine0, refine);

  // 64-bit throughout: with every field at its limit a block would have more than 2^46 bytes.
  const uint64_t head_tiles = uint64_t{spec.kv_heads} * layout.tiles_;
  for (uint32_t plane = 0; plane < layout.planes_; ++plane) {
    layout.plane_offset_[plane] = layout.layer_bytes_;
    layout.layer_bytes_ += head_tiles * layout.tile_bytes_[plane];
  }
  const uint64_t directory_end =
      layout.directory_offset() + uint64_t{layout.directory_entries()} * sizeof(DirectoryEntry);
  layout.payload_offset_ = (directory_end + kSegmentAlignment - 1) / kSegmentAlignment * kSegmentAlignment;
  if (layout.total_bytes() > kMaxBlockBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a block of ", spec.layers, " layers, ", spec.kv_heads, " heads and ", spec.tokens, " tokens would have ",
        layout.total_bytes(), " bytes; the limit is ", kMaxBlockBytes, ": use fewer tokens a block or more shards"));
  }
  for (uint32_t plane = 0; plane < layout.planes_; ++plane) {
    layout.segment_bytes_[plane] = static_cast<uint32_t>(head_tiles * layout.tile_bytes_[plane]);
  }
  return layout;
}

BitsPerCoordinate CodecBits(CodecPair codec, uint32_t head_dim) {
  const auto bits = [head_dim](CodecId id) {
    const CodecTile tile = TileOf(id, head_dim);
    const uint32_t bytes = static_cast<uint32_t>(sizeof(TileHead)) / 2 + tile.scales + tile.payload +
                           tile.refine_planes * RefinePlaneBytes(head_dim);
    return 8.0 * bytes / (kTileTokens * head_dim);
  };
  return {bits(codec.k), bits(codec.v)};
}

}  // namespace polarkv
