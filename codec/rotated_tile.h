// What the encoders of all rotated codecs begin and end with: a tile's vectors rotated, and the scales of their images.
#ifndef POLARKV_CODEC_ROTATED_TILE_H_
#define POLARKV_CODEC_ROTATED_TILE_H_

#include <array>
#include <cstdint>
#include <memory>

#include "codec/block_format.h"
#include "codec/lane_vectors.h"
#include "codec/log_scale.h"
#include "codec/tile_planes.h"

namespace polarkv {

// Token t of a tile is lane t % kQuantizerLanes of group t / kQuantizerLanes.
struct RotatedTile {
  static constexpr uint32_t kGroups = kTileTokens / kQuantizerLanes;
  alignas(64) LaneFloats y[kGroups][kMaxHeadDim];  // integers: see RotateLanes
  LaneNorms norms[kGroups];
};

// Thread-safe; matrices are [column][row] as in code_matrix.h.
class TileRotation {
 public:
  TileRotation(KvSide side, uint32_t head_dim, uint64_t rotation_seed)
      : side_(side), head_dim_(head_dim), signs_(RotationSigns(rotation_seed)) {}

  KvSide side() const { return side_; }
  uint32_t head_dim() const { return head_dim_; }

  // Rotates `tokens` contiguous rows. Tokens whose bit in `counted` is clear, and those missing to 64, are zero
  // vectors.
  void Rotate(const float* rows, uint32_t tokens, uint64_t counted, RotatedTile& out) const;
  // The coordinates at unit variance; zero vectors are zero.
  void ToUnitVariance(const RotatedTile& tile, float* matrix) const;
  // Stores the scales of the tokens' images: of keys the unbiased ones, of values those that keep the norm.
  ScaleRange StoreImageScales(const RotatedTile& tile, const float* images, uint32_t tokens, uint8_t* scales) const;

 private:
  KvSide side_;
  uint32_t head_dim_;
  std::array<float, kMaxHeadDim> signs_;
};

// Stores the tokens' norms times `factor` as their scales.
ScaleRange StoreNormScales(const RotatedTile& tile, float factor, uint32_t tokens, uint8_t* scales);

// One side of one tile by a codec that rotates. Thread-safe.
class RotatedTileEncoder {
 public:
  virtual ~RotatedTileEncoder() = default;
  // Encodes `tokens` (1..64) contiguous finite rows into all-zero planes and scales (u8 [64]). Tokens whose bit in
  // `counted` is clear take no part and get the scale 0.
  virtual ScaleRange Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                            uint8_t* scales) const = 0;
};

// `codec` rotates; see CodecTraits.
std::unique_ptr<RotatedTileEncoder> MakeRotatedTileEncoder(CodecId codec, KvSide side, uint32_t head_dim,
                                                           uint64_t rotation_seed);

}  // namespace polarkv

#endif  // POLARKV_CODEC_ROTATED_TILE_H_
