#include "kernels/cpu/matrix_tiles.h"

#include <cmath>

#include "codec/deep_code.h"
#include "codec/polar_coordinates.h"
#include "codec/polar_tile.h"

namespace polarkv::cpu {
namespace {

// In fp32: too small a scale is 0.
void ReadFactors(const TilePart& part, float* factor) {
  const bool has_scales = TraitsOf(part.codec).has_scales;
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    factor[t] = has_scales ? static_cast<float>(ScaleValue(part.range, part.scales[t])) : std::ldexp(1.0f, part.exponent);
    if ((part.escapes >> t & 1) != 0) factor[t] = 0;
  }
}

void ReadPolarBytes(const Rope& rope, const TilePart& part, uint32_t head_dim, float* out) {
  uint16_t pairs[kMaxHeadDim / 2][2];
  for (uint32_t p = 0; p < head_dim / 2; ++p) {
    const CoordinatePair pair = PairOf(rope, head_dim, p);
    pairs[p][0] = static_cast<uint16_t>(pair.first);
    pairs[p][1] = static_cast<uint16_t>(pair.second);
  }
  ReadPolarMatrix(PolarBitsOf(part.codec).angle, pairs, part.planes.payload, head_dim, out);
}

}  // namespace

MatrixTiles::MatrixTiles(uint32_t head_dim)
    : head_dim_(head_dim), key_reader_(KvSide::kKey, head_dim), value_reader_(KvSide::kValue, head_dim) {}

SideMatrix MatrixTiles::ReadSide(const BlockView& block, KvSide side, const TilePart& part, TileMatrix& matrix,
                                 float* factor) {
  float* out = matrix.value.data();
  const uint8_t* payload = part.planes.payload;
  switch (TraitsOf(part.codec).kind) {
    case CodecKind::kFp16:
      ReadFactors(part, factor);
      ReadHalfMatrix(payload, head_dim_, out);
      return {out, true};
    case CodecKind::kDeep: {
      ReadFactors(part, factor);
      const DeepStep step = DeepStepOf(part.codec);
      ReadDeepMatrix(step.bits, step.coordinates, payload, head_dim_, out);
      return {out, false};
    }
    case CodecKind::kPolar:
      if (const PolarBits bits = PolarBitsOf(part.codec); bits.angle <= 4 && bits.angle + bits.radius == 8) {
        ReadFactors(part, factor);
        ReadPolarBytes(block.spec().rope, part, head_dim_, out);
        return {out, false};
      }
      break;
    default:
      break;
  }
  (side == KvSide::kKey ? key_reader_ : value_reader_).Read(part, block.spec().rope, matrix);
  // A few codecs have factors of their own. Beyond fp32 is infinity, which the reference takes over.
  for (uint32_t t = 0; t < kTileTokens; ++t) factor[t] = static_cast<float>(matrix.factor[t]);
  return {out, side == KvSide::kValue};
}

const MatrixTile& MatrixTiles::Read(const BlockView& block, uint32_t layer, uint32_t kv_head, uint32_t tile) {
  tile_.head_dim = head_dim_;
  tile_.tokens = TileTokenCount(block.spec(), tile);
  const TilePart k = FindTilePart(block, KvSide::kKey, layer, kv_head, tile);
  tile_.keys = ReadSide(block, KvSide::kKey, k, *keys_, tile_.key_factor);
  const TilePart v = FindTilePart(block, KvSide::kValue, layer, kv_head, tile);
  tile_.values = ReadSide(block, KvSide::kValue, v, *values_, tile_.value_factor);
  return tile_;
}

}  // namespace polarkv::cpu
