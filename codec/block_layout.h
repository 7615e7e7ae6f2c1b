// Offsets and strides of a block, computed from its spec alone: any tile of any plane is one multiplication away.
#ifndef POLARKV_CODEC_BLOCK_LAYOUT_H_
#define POLARKV_CODEC_BLOCK_LAYOUT_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_spec.h"

namespace polarkv {

// A plane is what a reader may fetch or leave out. The base plane is enough to attend (at 2 bits for turbo3 and turbo4,
// at 3 for turbo5); each refinement plane adds one bit to every key or value, the residual plane what a turbo<b>q code
// leaves over. Only planes that the codecs of some layer have exist in a block, in this order; a block's plane index
// counts those. A layer whose codecs lack a plane that others have has an empty segment there.
enum class PlaneKind : uint8_t { kBase = 0, kKeyRefine1, kValueRefine1, kKeyRefine0, kValueRefine0, kKeyResidual };
inline constexpr uint32_t kMaxPlanes = 6;

// A set of PlaneKinds, bit i = PlaneKind i.
using PlaneMask = uint32_t;
inline constexpr PlaneMask kAllPlanes = 0x3F;
inline constexpr PlaneMask PlaneBit(PlaneKind kind) { return PlaneMask{1} << static_cast<uint32_t>(kind); }

// Byte offsets inside one tile of the base plane: [TileHead][K scales][V scales][K payload][V payload].
struct BaseTileLayout {
  uint32_t k_scales = 0;  // u8 [64], one a token (log_scale.h); absent (equal to v_scales) for codecs without scales
  uint32_t v_scales = 0;
  uint32_t k_payload = 0;
  uint32_t v_payload = 0;
  uint32_t bytes = 0;  // stride of a tile
};

// A tile of the residual plane: fp16 [64] norms of the residuals in units of the token's scale, then 8 * head_dim bytes
// of signs.
inline constexpr uint32_t kResidualNormBytes = 2 * kTileTokens;

// Where things are in the segments of one layer. The base segment: [mean key of each head] if the layer has key means
// that are not a profile's, [band table of each head] if its keys are in bands (band_table.h), [kv_head][tile] tiles, escape
// records. Other segments: [kv_head][tile].
struct LayerLayout {
  CodecPair codec;
  bool key_mean = false;
  uint32_t escapes = 0;
  PlaneMask planes = 0;  // which PlaneKinds the layer has
  BaseTileLayout base_tile;
  uint32_t first_band = 0;     // in the base segment; the mean keys are before it, VectorRecordBytes each
  uint32_t first_tile = 0;     // in the base segment; the band tables are before it, BandTableBytes each
  uint32_t first_escape = 0;   // in the base segment; VectorRecordBytes each
  std::array<uint32_t, kMaxPlanes> tile_bytes{};      // by PlaneKind; 0: the layer lacks it
  std::array<uint32_t, kMaxPlanes> segment_bytes{};   // likewise
  std::array<uint64_t, kMaxPlanes> segment_offset{};  // likewise, from the layer's first segment
  uint64_t bytes = 0;                                 // of all segments

  uint32_t TileBytes(PlaneKind kind) const { return tile_bytes[static_cast<uint32_t>(kind)]; }
};

// A layer of a valid spec, with such a part.
LayerLayout MakeLayerLayout(const BlockSpec& spec, const LayerPart& part);

class BlockLayout {
 public:
  // INVALID_ARGUMENT as ValidateBlockSpec, or when the block would exceed kMaxBlockBytes.
  static absl::StatusOr<BlockLayout> Make(const BlockSpec& spec);

  uint32_t layers() const { return layers_; }
  uint32_t tiles() const { return tiles_; }                 // per layer and head
  uint32_t planes() const { return planes_; }               // directory entries per layer
  PlaneMask plane_mask() const { return plane_mask_; }      // which PlaneKinds exist in some layer
  PlaneKind plane_kind(uint32_t plane) const { return kinds_[plane]; }
  int PlaneIndex(PlaneKind kind) const { return index_[static_cast<uint32_t>(kind)]; }  // -1: absent

  const LayerLayout& layer(uint32_t layer) const { return shapes_[shape_of_.empty() ? 0 : shape_of_[layer]]; }
  uint32_t SegmentBytes(uint32_t layer, PlaneKind kind) const {
    return this->layer(layer).segment_bytes[static_cast<uint32_t>(kind)];
  }
  // From the block's first byte; of a segment that the layer lacks: where it would be.
  uint64_t SegmentOffset(uint32_t layer, PlaneKind kind) const {
    return LayerOffset(layer) + this->layer(layer).segment_offset[static_cast<uint32_t>(kind)];
  }
  // Offset of a tile inside its segment; tiles of one head are adjacent.
  uint64_t TileOffset(uint32_t layer, PlaneKind kind, uint32_t kv_head, uint32_t tile) const {
    const LayerLayout& shape = this->layer(layer);
    const uint64_t first = kind == PlaneKind::kBase ? shape.first_tile : 0;
    return first + (uint64_t{kv_head} * tiles_ + tile) * shape.TileBytes(kind);
  }
  // Of a layer's first segment; LayerOffset(layers()) is the end of the block.
  uint64_t LayerOffset(uint32_t layer) const {
    return payload_offset_ + (offset_of_.empty() ? layer * shapes_[0].bytes : offset_of_[layer]);
  }
  uint32_t extension_bytes() const { return extension_bytes_; }
  uint32_t directory_entries() const { return layers_ * planes_; }
  uint64_t directory_offset() const { return sizeof(BlockHeader) + extension_bytes_; }
  uint64_t payload_offset() const { return payload_offset_; }  // header, extension and directory, padded to 64
  uint64_t total_bytes() const { return LayerOffset(layers_); }

 private:
  uint32_t layers_ = 0, tiles_ = 0, planes_ = 0, extension_bytes_ = 0;
  PlaneMask plane_mask_ = 0;
  std::array<PlaneKind, kMaxPlanes> kinds_{};
  std::array<int, kMaxPlanes> index_{};
  std::vector<LayerLayout> shapes_;   // one for all layers, or one for each
  std::vector<uint16_t> shape_of_;    // by layer; empty: all have shapes_[0]
  std::vector<uint64_t> offset_of_;   // by layer and one more; empty likewise
  uint64_t payload_offset_ = 0;
};

// Bytes of the layer table and the phase table, padded to 64.
uint32_t ExtensionBytes(const BlockSpec& spec);

// Bits per coordinate of K and of V in a full block, everything counted (tile heads and scales; header and directory are
// reported by `polarkv inspect`, they depend on the block's size). The tile head is shared half and half.
struct BitsPerCoordinate {
  double k = 0;
  double v = 0;
};
BitsPerCoordinate CodecBits(CodecPair codec, uint32_t head_dim);

}  // namespace polarkv

#endif  // POLARKV_CODEC_BLOCK_LAYOUT_H_
