#include "codec/tile_matrix.h"

#include <cmath>
#include <cstring>

#include "codec/half_float.h"
#include "codec/polar_coordinates.h"
#include "codec/polar_tile.h"
#include "codec/turbo_codebook.h"

namespace polarkv {
namespace {

uint16_t LoadHalf(const uint8_t* halves, uint32_t index) {
  uint16_t half;
  std::memcpy(&half, halves + 2 * index, 2);
  return half;
}

}  // namespace

TilePart FindTilePart(const BlockView& block, KvSide side, uint32_t layer, uint32_t kv_head, uint32_t tile) {
  const bool key = side == KvSide::kKey;
  const uint8_t* base = block.Tile(layer, PlaneKind::kBase, kv_head, tile).data();
  const auto refine1 = block.Tile(layer, key ? PlaneKind::kKeyRefine1 : PlaneKind::kValueRefine1, kv_head, tile);
  const auto refine0 = block.Tile(layer, key ? PlaneKind::kKeyRefine0 : PlaneKind::kValueRefine0, kv_head, tile);
  const LayerLayout& shape = block.layout().layer(layer);
  const BaseTileLayout& at = shape.base_tile;
  TileHead head;
  std::memcpy(&head, base, sizeof head);
  TilePart part{};
  part.codec = key ? shape.codec.k : shape.codec.v;
  part.bits = refine1.empty() ? 2 : refine0.empty() ? 3 : 4;
  part.exponent = key ? head.k_exponent : head.v_exponent;
  part.scales = base + (key ? at.k_scales : at.v_scales);
  part.planes = {base + (key ? at.k_payload : at.v_payload), refine1.data(), refine0.data()};
  return part;
}

void TileMatrixReader::Read(const TilePart& part, const Rope& rope, TileMatrix& out) const {
  const double power = std::ldexp(1.0, part.exponent);
  if (IsTurbo(part.codec)) {
    for (uint32_t t = 0; t < kTileTokens; ++t) out.factor[t] = HalfToFloat(LoadHalf(part.scales, t)) * power;
    return ReadTurbo(part, out);
  }
  out.factor.fill(power);
  part.codec == CodecId::kPolar44 ? ReadPolar(part, rope, out) : ReadHalf(part, out);
}

void TileMatrixReader::ReadTurbo(const TilePart& part, TileMatrix& out) const {
  std::array<uint8_t, kMaxTileCodes> codes;
  matrix_.Unpack(part.bits, part.planes, codes.data());
  std::array<float, 16> image_of;
  const TurboCodebook& book = TurboCodebookFor(part.codec, part.bits);
  for (uint32_t c = 0; c < image_of.size(); ++c) image_of[c] = book.image[c];
  for (uint32_t i = 0; i < matrix_.size(); ++i) out.value[i] = image_of[codes[i]];
}

void TileMatrixReader::ReadHalf(const TilePart& part, TileMatrix& out) const {
  const uint32_t head_dim = matrix_.head_dim();
  if (matrix_.side() == KvSide::kValue) {
    for (uint32_t i = 0; i < matrix_.size(); ++i) out.value[i] = HalfToFloat(LoadHalf(part.planes.crumbs, i));
    return;
  }
  for (uint32_t j = 0; j < head_dim; ++j) {
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      out.value[j * kTileTokens + t] = HalfToFloat(LoadHalf(part.planes.crumbs, t * head_dim + j));
    }
  }
}

void TileMatrixReader::ReadPolar(const TilePart& part, const Rope& rope, TileMatrix& out) const {
  const uint32_t head_dim = matrix_.head_dim();
  const uint32_t token_stride = matrix_.side() == KvSide::kKey ? 1 : head_dim;
  const uint32_t coordinate_stride = matrix_.side() == KvSide::kKey ? kTileTokens : 1;
  for (uint32_t p = 0; p < head_dim / 2; ++p) {
    const PolarPair polar = ReadPolarPair(part.planes.crumbs, head_dim, p);
    const CoordinatePair pair = PairOf(rope, head_dim, p);
    float* first = out.value.data() + pair.first * coordinate_stride;
    float* second = out.value.data() + pair.second * coordinate_stride;
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      const float radius = polar.radius[polar.codes[t] >> 4];
      const uint32_t angle = polar.codes[t] & 15;
      first[t * token_stride] = radius * polar.cosine[angle];
      second[t * token_stride] = radius * polar.sine[angle];
    }
  }
}

}  // namespace polarkv
