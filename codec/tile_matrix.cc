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

void ReadTurbo(const BlockSpec& spec, KvSide side, const TilePart& part, TileMatrix& out) {
  std::array<uint8_t, kMaxTileCodes> codes;
  UnpackCodes(side, spec.head_dim, part.bits, part.planes, codes.data());
  std::array<float, 16> image;
  const TurboCodebook& book = TurboCodebookFor(part.codec, part.bits);
  for (uint32_t c = 0; c < 16; ++c) image[c] = book.image[c];
  for (uint32_t i = 0; i < kTileTokens * spec.head_dim; ++i) out.value[i] = image[codes[i]];
}

void ReadHalf(const BlockSpec& spec, KvSide side, const TilePart& part, TileMatrix& out) {
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    for (uint32_t j = 0; j < spec.head_dim; ++j) {
      const uint32_t at = side == KvSide::kKey ? t * spec.head_dim + j : j * kTileTokens + t;
      out.value[at] = HalfToFloat(LoadHalf(part.planes.crumbs, t * spec.head_dim + j));
    }
  }
}

void ReadPolar(const BlockSpec& spec, KvSide side, const TilePart& part, TileMatrix& out) {
  const uint32_t row = side == KvSide::kKey ? spec.head_dim : 1;
  const uint32_t column = side == KvSide::kKey ? 1 : kTileTokens;
  for (uint32_t p = 0; p < spec.head_dim / 2; ++p) {
    const PolarPair polar = ReadPolarPair(part.planes.crumbs, spec.head_dim, p);
    const CoordinatePair pair = PairOf(spec.rope, spec.head_dim, p);
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      const float radius = polar.radius[polar.codes[t] >> 4];
      const uint32_t angle = polar.codes[t] & 15;
      out.value[t * row + pair.first * column] = radius * polar.cosine[angle];
      out.value[t * row + pair.second * column] = radius * polar.sine[angle];
    }
  }
}

}  // namespace

TilePart FindTilePart(const BlockView& block, KvSide side, uint32_t layer, uint32_t kv_head, uint32_t tile) {
  const bool key = side == KvSide::kKey;
  const uint8_t* base = block.Tile(layer, PlaneKind::kBase, kv_head, tile).data();
  const auto refine1 = block.Tile(layer, key ? PlaneKind::kKeyRefine1 : PlaneKind::kValueRefine1, kv_head, tile);
  const auto refine0 = block.Tile(layer, key ? PlaneKind::kKeyRefine0 : PlaneKind::kValueRefine0, kv_head, tile);
  const BaseTileLayout& at = block.layout().base_tile();
  TileHead head;
  std::memcpy(&head, base, sizeof head);
  TilePart part{};
  part.codec = key ? block.spec().codec.k : block.spec().codec.v;
  part.bits = refine1.empty() ? 2 : refine0.empty() ? 3 : 4;
  part.exponent = key ? head.k_exponent : head.v_exponent;
  part.scales = base + (key ? at.k_scales : at.v_scales);
  part.planes = {base + (key ? at.k_payload : at.v_payload), refine1.data(), refine0.data()};
  return part;
}

void ReadTileMatrix(const BlockSpec& spec, KvSide side, const TilePart& part, TileMatrix& out) {
  const double power = std::ldexp(1.0, part.exponent);
  const bool turbo = IsTurbo(part.codec);
  for (uint32_t t = 0; t < kTileTokens; ++t)
    out.factor[t] = turbo ? HalfToFloat(LoadHalf(part.scales, t)) * power : power;
  if (turbo) return ReadTurbo(spec, side, part, out);
  if (part.codec == CodecId::kPolar44) return ReadPolar(spec, side, part, out);
  ReadHalf(spec, side, part, out);
}

}  // namespace polarkv
