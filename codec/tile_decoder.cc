#include "codec/tile_decoder.h"

#include <algorithm>
#include <limits>

#include "codec/rotation.h"

namespace polarkv {

float SaturateToFloat(double value) {
  constexpr double kLimit = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value, -kLimit, kLimit));
}

float TokenFactor(double scale, float constant) { return SaturateToFloat(scale * double{constant}); }

TileDecoder::TileDecoder(KvSide side, uint32_t head_dim, uint64_t rotation_seed)
    : side_(side), head_dim_(head_dim), reader_(side, head_dim), signs_(RotationSigns(rotation_seed)) {}

void TileDecoder::Decode(const TilePart& part, const Rope& rope, uint32_t tokens, float* rows) {
  reader_.Read(part, rope, matrix_);
  const bool rotates = TraitsOf(part.codec).rotates;
  const uint32_t block = RotationBlock(head_dim_);
  if (side_ == KvSide::kKey) {
    if (rotates) HadamardBlocks(matrix_.value.data(), head_dim_, block, kTileTokens);
    TransposeKeys();
  }
  for (uint32_t t = 0; t < tokens; ++t) {
    float* value = (side_ == KvSide::kKey ? transposed_ : matrix_.value).data() + t * head_dim_;
    if (side_ == KvSide::kValue && rotates) HadamardBlocks(value, head_dim_, block, 1);
    const double factor = rotates ? TokenFactor(matrix_.factor[t], RotationScale(head_dim_)) : matrix_.factor[t];
    float* row = rows + t * head_dim_;
    for (uint32_t j = 0; j < head_dim_; ++j) row[j] = SaturateToFloat(factor * value[j]);
    if (!rotates) continue;
    for (uint32_t j = 0; j < head_dim_; ++j) row[j] *= signs_[j];
  }
}

void TileDecoder::TransposeKeys() {
  for (uint32_t j = 0; j < head_dim_; ++j) {
    for (uint32_t t = 0; t < kTileTokens; ++t) transposed_[t * head_dim_ + j] = matrix_.value[j * kTileTokens + t];
  }
}

}  // namespace polarkv
