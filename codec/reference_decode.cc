#include <algorithm>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "codec/reference_codec.h"
#include "codec/rotation.h"
#include "codec/tile_matrix.h"
#include "codec/turbo_codebook.h"

namespace polarkv::reference {
namespace {

float Saturate(double value) {
  constexpr double kLimit = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value, -kLimit, kLimit));
}

// Decodes one side, tile by tile. Products are exact in double (11 bits of scale, 24 of the rotation's constant, 16 of
// the transformed images), so that each coordinate is rounded once.
class SideDecoder {
 public:
  SideDecoder(const BlockView& block, KvSide side)
      : block_(block),
        side_(side),
        reader_(side, block.spec().head_dim),
        signs_(RotationSigns(block.spec().rotation_seed)) {}

  // rows: [tokens in the tile][head_dim]
  void Decode(uint32_t layer, uint32_t head, uint32_t tile, float* rows) {
    const BlockSpec& spec = block_.spec();
    const TilePart part = FindTilePart(block_, side_, layer, head, tile);
    reader_.Read(part, spec.rope, matrix_);
    const uint32_t block = RotationBlock(spec.head_dim);
    if (side_ == KvSide::kKey) {
      if (IsTurbo(part.codec)) HadamardBlocks(matrix_.value.data(), spec.head_dim, block, kTileTokens);
      TransposeKeys();
    }
    const uint32_t tokens = TileTokenCount(spec, tile);
    const double constant = IsTurbo(part.codec) ? RotationScale(spec.head_dim) : 1.0;
    for (uint32_t t = 0; t < tokens; ++t) {
      float* value = (side_ == KvSide::kKey ? transposed_ : matrix_.value).data() + t * spec.head_dim;
      if (side_ == KvSide::kValue && IsTurbo(part.codec)) HadamardBlocks(value, spec.head_dim, block, 1);
      const double factor = matrix_.factor[t] * constant;
      float* row = rows + t * spec.head_dim;
      for (uint32_t j = 0; j < spec.head_dim; ++j) row[j] = Saturate(factor * value[j]);
      if (IsTurbo(part.codec)) {
        for (uint32_t j = 0; j < spec.head_dim; ++j) row[j] *= signs_[j];
      }
    }
  }

 private:
  void TransposeKeys() {
    const uint32_t head_dim = block_.spec().head_dim;
    for (uint32_t j = 0; j < head_dim; ++j) {
      for (uint32_t t = 0; t < kTileTokens; ++t) transposed_[t * head_dim + j] = matrix_.value[j * kTileTokens + t];
    }
  }

  const BlockView& block_;
  KvSide side_;
  TileMatrixReader reader_;
  std::array<float, kMaxHeadDim> signs_;
  TileMatrix matrix_;
  std::array<float, kMaxTileCodes> transposed_;  // keys as [token][coordinate]
};

}  // namespace

absl::Status DecodeBlock(const BlockView& block, std::span<float> k, std::span<float> v) {
  const BlockSpec& spec = block.spec();
  const uint32_t layers = block.layer_end() - block.layer_begin();
  const size_t size = size_t{layers} * spec.kv_heads * spec.tokens * spec.head_dim;
  if (k.size() != size || v.size() != size) {
    return absl::InvalidArgumentError(absl::StrCat("decoding needs ", size, " floats each for k and v (", layers,
                                                   " layers held), got ", k.size(), " and ", v.size()));
  }
  if (absl::Status s = CheckReferences(spec, block.layer_begin(), block.layer_end()); !s.ok()) return s;
  const auto keys = std::make_unique<SideDecoder>(block, KvSide::kKey);
  const auto values = std::make_unique<SideDecoder>(block, KvSide::kValue);
  for (uint32_t layer = block.layer_begin(); layer < block.layer_end(); ++layer) {
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
        const size_t token =
            ((layer - block.layer_begin()) * size_t{spec.kv_heads} + head) * spec.tokens + tile * kTileTokens;
        keys->Decode(layer, head, tile, k.data() + token * spec.head_dim);
        values->Decode(layer, head, tile, v.data() + token * spec.head_dim);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace polarkv::reference
