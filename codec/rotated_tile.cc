#include "codec/rotated_tile.h"

#include <algorithm>

#include "codec/deep_code.h"
#include "codec/fma_target.h"
#include "codec/recursive_polar.h"
#include "codec/sign_sketch.h"
#include "codec/trellis_tile.h"
#include "codec/turbo_tile.h"

namespace polarkv {
namespace {

constexpr uint32_t kLanes = kQuantizerLanes;

POLARKV_FMA_TARGET void RotateFma(LaneFloats* y, uint32_t head_dim, const float* signs, LaneNorms& norms) {
  RotateLanes(y, head_dim, signs, norms);
}
void RotatePlain(LaneFloats* y, uint32_t head_dim, const float* signs, LaneNorms& norms) {
  RotateLanes(y, head_dim, signs, norms);
}

POLARKV_FMA_TARGET void ScaleFma(KvSide side, const LaneFloats* y, const LaneFloats* image, uint32_t head_dim,
                                 const LaneNorms& norms, float* mantissa) {
  ScaleLanes(side, y, image, head_dim, norms, mantissa);
}
void ScalePlain(KvSide side, const LaneFloats* y, const LaneFloats* image, uint32_t head_dim, const LaneNorms& norms,
                float* mantissa) {
  ScaleLanes(side, y, image, head_dim, norms, mantissa);
}

}  // namespace

void TileRotation::Rotate(const float* rows, uint32_t tokens, uint64_t counted, RotatedTile& out) const {
  for (uint32_t group = 0; group < RotatedTile::kGroups; ++group) {
    LaneFloats* y = out.y[group];
    for (uint32_t l = 0; l < kLanes; ++l) {
      const uint32_t token = group * kLanes + l;
      const bool counts = token < tokens && (counted >> token & 1) != 0;
      const float* row = rows + token * head_dim_;
      for (uint32_t j = 0; j < head_dim_; ++j) y[j][l] = counts ? row[j] : 0;
    }
    (HasHardwareFma() ? RotateFma : RotatePlain)(y, head_dim_, signs_.data(), out.norms[group]);
  }
}

void TileRotation::ToUnitVariance(const RotatedTile& tile, float* matrix) const {
  const uint32_t token_stride = side_ == KvSide::kKey ? 1 : head_dim_;
  const uint32_t coordinate_stride = side_ == KvSide::kKey ? kTileTokens : 1;
  for (uint32_t group = 0; group < RotatedTile::kGroups; ++group) {
    for (uint32_t j = 0; j < head_dim_; ++j) {
      float* out = matrix + group * kLanes * token_stride + j * coordinate_stride;
      for (uint32_t l = 0; l < kLanes; ++l) out[l * token_stride] = tile.y[group][j][l] * kToUnitVariance;
    }
  }
}

ScaleRange TileRotation::StoreImageScales(const RotatedTile& tile, const float* images, uint32_t tokens,
                                          uint8_t* scales) const {
  const uint32_t token_stride = side_ == KvSide::kKey ? 1 : head_dim_;
  const uint32_t coordinate_stride = side_ == KvSide::kKey ? kTileTokens : 1;
  alignas(64) LaneFloats image[kMaxHeadDim];
  float mantissa[kTileTokens];
  int exponent[kTileTokens];
  for (uint32_t group = 0; group < RotatedTile::kGroups; ++group) {
    for (uint32_t j = 0; j < head_dim_; ++j) {
      const float* in = images + group * kLanes * token_stride + j * coordinate_stride;
      for (uint32_t l = 0; l < kLanes; ++l) image[j][l] = in[l * token_stride];
    }
    const LaneNorms& norms = tile.norms[group];
    (HasHardwareFma() ? ScaleFma : ScalePlain)(side_, tile.y[group], image, head_dim_, norms,
                                               mantissa + group * kLanes);
    std::copy_n(norms.exponent, kLanes, exponent + group * kLanes);
  }
  return StoreScales(mantissa, exponent, tokens, scales);
}

ScaleRange StoreNormScales(const RotatedTile& tile, float factor, uint32_t tokens, uint8_t* scales) {
  float mantissa[kTileTokens];
  int exponent[kTileTokens];
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    const LaneNorms& norms = tile.norms[t / kQuantizerLanes];
    mantissa[t] = norms.norm[t % kQuantizerLanes] * factor;
    exponent[t] = norms.exponent[t % kQuantizerLanes];
  }
  return StoreScales(mantissa, exponent, tokens, scales);
}

std::unique_ptr<RotatedTileEncoder> MakeRotatedTileEncoder(CodecId codec, KvSide side, uint32_t head_dim,
                                                           uint64_t rotation_seed) {
  switch (TraitsOf(codec).kind) {
    case CodecKind::kTrellis:
      return std::make_unique<TrellisTileEncoder>(codec, side, head_dim, rotation_seed);
    case CodecKind::kDeep:
      return std::make_unique<DeepTileEncoder>(codec, side, head_dim, rotation_seed);
    case CodecKind::kPolarRecursive:
      return std::make_unique<RecursivePolarTileEncoder>(side, head_dim, rotation_seed);
    case CodecKind::kQjl:
      return std::make_unique<QjlTileEncoder>(codec, head_dim, rotation_seed);
    default:
      return std::make_unique<TurboTileEncoder>(codec, side, head_dim, rotation_seed);
  }
}

}  // namespace polarkv
