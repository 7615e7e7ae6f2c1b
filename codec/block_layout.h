// Offsets and strides of a block, computed from its spec alone: any tile of any plane is one multiplication away.
#ifndef POLARKV_CODEC_BLOCK_LAYOUT_H_
#define POLARKV_CODEC_BLOCK_LAYOUT_H_

#include <array>
#include <cstdint>

#include "absl/status/statusor.h"
#include "codec/block_spec.h"

namespace polarkv {

// A plane is what a reader may fetch or leave out. The base plane is enough to attend (at 2 bits for turbo3 and turbo4);
// each refinement plane adds one bit to every key or value. Only planes that the codecs have exist in a block, in this
// order; a block's plane index counts those.
enum class PlaneKind : uint8_t { kBase = 0, kKeyRefine1, kValueRefine1, kKeyRefine0, kValueRefine0 };
inline constexpr uint32_t kMaxPlanes = 5;

// A set of PlaneKinds, bit i = PlaneKind i.
using PlaneMask = uint32_t;
inline constexpr PlaneMask kAllPlanes = 0x1F;
inline constexpr PlaneMask PlaneBit(PlaneKind kind) { return PlaneMask{1} << static_cast<uint32_t>(kind); }

// Byte offsets inside one tile of the base plane: [TileHead][K scales][V scales][K payload][V payload].
struct BaseTileLayout {
  uint32_t k_scales = 0;  // fp16[64]; absent (equal to v_scales) for codecs without per-token scales
  uint32_t v_scales = 0;
  uint32_t k_payload = 0;
  uint32_t v_payload = 0;
  uint32_t bytes = 0;  // stride of a tile
};

class BlockLayout {
 public:
  // INVALID_ARGUMENT as ValidateBlockSpec, or when the block would exceed kMaxBlockBytes.
  static absl::StatusOr<BlockLayout> Make(const BlockSpec& spec);

  uint32_t layers() const { return layers_; }
  uint32_t tiles() const { return tiles_; }                 // per layer and head
  uint32_t planes() const { return planes_; }               // segments per layer
  PlaneMask plane_mask() const { return plane_mask_; }      // which PlaneKinds exist
  PlaneKind plane_kind(uint32_t plane) const { return kinds_[plane]; }
  int PlaneIndex(PlaneKind kind) const { return index_[static_cast<uint32_t>(kind)]; }  // -1: absent

  const BaseTileLayout& base_tile() const { return base_tile_; }
  uint32_t TileBytes(uint32_t plane) const { return tile_bytes_[plane]; }        // stride of a tile in that plane
  uint32_t SegmentBytes(uint32_t plane) const { return segment_bytes_[plane]; }  // tiles * kv_heads * TileBytes
  uint64_t SegmentOffset(uint32_t layer, uint32_t plane) const {
    return payload_offset_ + layer * layer_bytes_ + plane_offset_[plane];
  }
  // Offset of a tile inside its segment; tiles of one head are adjacent: [kv_head][tile].
  uint64_t TileOffset(uint32_t plane, uint32_t kv_head, uint32_t tile) const {
    return (uint64_t{kv_head} * tiles_ + tile) * tile_bytes_[plane];
  }
  uint32_t directory_entries() const { return layers_ * planes_; }
  uint64_t directory_offset() const { return 128; }
  uint64_t payload_offset() const { return payload_offset_; }  // header + directory, padded to 64
  uint64_t layer_bytes() const { return layer_bytes_; }
  uint64_t total_bytes() const { return payload_offset_ + layers_ * layer_bytes_; }

 private:
  void AddPlane(PlaneKind kind, uint32_t tile_bytes);

  uint32_t layers_ = 0, tiles_ = 0, planes_ = 0;
  PlaneMask plane_mask_ = 0;
  std::array<PlaneKind, kMaxPlanes> kinds_{};
  std::array<int, kMaxPlanes> index_{};
  BaseTileLayout base_tile_;
  std::array<uint32_t, kMaxPlanes> tile_bytes_{}, segment_bytes_{};
  std::array<uint64_t, kMaxPlanes> plane_offset_{};
  uint64_t payload_offset_ = 0, layer_bytes_ = 0;
};

// Bits per coordinate of K and of V in a full block, everything counted (tile heads and scales; header and directory are
// reported by `polarkv inspect`, they depend on the block's size). The tile head is shared half and half.
struct BitsPerCoordinate {
  double k = 0;
  double v = 0;
};
BitsPerCoordinate CodecBits(CodecPair codec, uint32_t head_dim);

}  // namespace polarkv

#endif  // POLARKV_CODEC_BLOCK_LAYOUT_H_
