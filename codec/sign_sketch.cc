#include "codec/sign_sketch.h"

#include <algorithm>
#include <memory>

#include "codec/fma_target.h"

namespace polarkv {
namespace {

POLARKV_FMA_TARGET void ApplyVector(const SignProjection& projection, float* x, uint32_t columns) {
  projection.Apply(x, columns);
}
POLARKV_FMA_TARGET void ApplyTransposedVector(const SignProjection& projection, float* x, uint32_t columns) {
  projection.ApplyTransposed(x, columns);
}

}  // namespace

SignSketch::SignSketch(uint32_t head_dim, uint64_t rotation_seed, uint32_t count)
    : head_dim_(head_dim), matrix_(KvSide::kKey, head_dim) {
  for (uint32_t i = 0; i < count; ++i) projections_.emplace_back(head_dim, rotation_seed, i);
}

void SignSketch::Write(const LaneFloats (*y)[kMaxHeadDim], uint64_t counted, uint8_t* planes) const {
  const auto projected = std::make_unique<LaneFloats[]>(head_dim_);
  std::vector<uint8_t> bits(matrix_.size());
  for (const SignProjection& projection : projections_) {
    for (uint32_t group = 0; group < RotatedTile::kGroups; ++group) {
      float* x = &projected[0][0];
      std::copy_n(&y[group][0][0], head_dim_ * kQuantizerLanes, x);
      HasHardwareFma() ? ApplyVector(projection, x, kQuantizerLanes) : projection.Apply(x, kQuantizerLanes);
      for (uint32_t j = 0; j < head_dim_; ++j) {
        for (uint32_t l = 0; l < kQuantizerLanes; ++l) {
          const uint32_t token = group * kQuantizerLanes + l;
          bits[j * kTileTokens + token] = projected[j][l] >= 0 && (counted >> token & 1) != 0 ? 1 : 0;
        }
      }
    }
    matrix_.Pack(1, bits.data(), {nullptr, planes, nullptr, nullptr});
    planes += 8 * head_dim_;
  }
}

void SignSketch::Read(const uint8_t* planes, SketchScratch& scratch, float* estimate) const {
  float* signs = scratch.signs.data();
  std::fill_n(estimate, matrix_.size(), 0.0f);
  for (const SignProjection& projection : projections_) {
    matrix_.Unpack(1, {nullptr, planes, nullptr, nullptr}, scratch.bits.data());
    for (uint32_t i = 0; i < matrix_.size(); ++i) signs[i] = scratch.bits[i] != 0 ? 1.0f : -1.0f;
    HasHardwareFma() ? ApplyTransposedVector(projection, signs, kTileTokens)
                     : projection.ApplyTransposed(signs, kTileTokens);
    for (uint32_t i = 0; i < matrix_.size(); ++i) estimate[i] += signs[i];
    planes += 8 * head_dim_;
  }
  const auto count = static_cast<float>(projections_.size());
  const float factor = SketchConstant(head_dim_) / (count * static_cast<float>(projections_[0].block()));
  for (uint32_t i = 0; i < matrix_.size(); ++i) estimate[i] *= factor;
}

ScaleRange QjlTileEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted,
                                  const TilePlanes<uint8_t>& planes, uint8_t* scales) const {
  const auto tile = std::make_unique<RotatedTile>();
  rotation_.Rotate(rows, tokens, counted, *tile);
  const uint64_t present = tokens == kTileTokens ? ~uint64_t{0} : (uint64_t{1} << tokens) - 1;
  sketch_.Write(tile->y, counted & present, planes.payload);
  return StoreNormScales(*tile, 1 / kNormPerScale, tokens, scales);
}

}  // namespace polarkv
