#include "codec/tile_matrix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "codec/band_code.h"
#include "codec/deep_code.h"
#include "codec/half_float.h"
#include "codec/polar_coordinates.h"
#include "codec/polar_tile.h"
#include "codec/recursive_polar.h"
#include "codec/sign_sketch.h"
#include "codec/turbo_codebook.h"

namespace polarkv {
namespace {

uint16_t LoadHalf(const uint8_t* halves, uint32_t index) {
  uint16_t half;
  std::memcpy(&half, halves + 2 * index, 2);
  return half;
}

// Bits of a turbo code of which the planes hold the upper ones.
uint32_t HeldBits(uint32_t bits, const TilePlanes<const uint8_t>& planes) {
  const uint32_t base_bits = bits == 5 ? 3 : std::min(bits, 2u);
  if (bits == base_bits || planes.refine1 == nullptr) return base_bits;
  return bits == base_bits + 1 || planes.refine0 == nullptr ? base_bits + 1 : base_bits + 2;
}

}  // namespace

TilePart FindTilePart(const BlockView& block, KvSide side, uint32_t layer, uint32_t kv_head, uint32_t tile) {
  const bool key = side == KvSide::kKey;
  const uint8_t* base = block.Tile(layer, PlaneKind::kBase, kv_head, tile).data();
  const auto plane = [&](PlaneKind kind) {
    const auto bytes = block.Tile(layer, kind, kv_head, tile);
    return bytes.empty() ? nullptr : bytes.data();
  };
  const LayerLayout& shape = block.layout().layer(layer);
  const BaseTileLayout& at = shape.base_tile;
  TileHead head;
  std::memcpy(&head, base, sizeof head);
  TilePart part{};
  part.codec = key ? shape.codec.k : shape.codec.v;
  part.exponent = key ? head.k_exponent : head.v_exponent;
  part.range = {key ? head.k_exponent : head.v_exponent, key ? head.k_shift : head.v_shift};
  part.scales = base + (key ? at.k_scales : at.v_scales);
  part.planes = {
      base + (key ? at.k_payload : at.v_payload), plane(key ? PlaneKind::kKeyRefine1 : PlaneKind::kValueRefine1),
      plane(key ? PlaneKind::kKeyRefine0 : PlaneKind::kValueRefine0), key ? plane(PlaneKind::kKeyResidual) : nullptr};
  part.bits = HasTurboCodes(part.codec) ? HeldBits(TurboBits(part.codec), part.planes) : 0;
  part.escapes = key ? head.k_escapes : head.v_escapes;
  part.rotation_seed = block.spec().rotation_seed;
  if (key && IsBanded(part.codec)) part.bands = block.BandTableOf(layer, kv_head).data();
  part.means = key && shape.key_mean ? head.k_mean : 0;
  part.first_escape = head.first_escape + (key ? 0 : static_cast<uint32_t>(std::popcount(head.k_escapes)));
  return part;
}

TileMatrixReader::TileMatrixReader(KvSide side, uint32_t head_dim)
    : matrix_(side, head_dim),
      trellis_{TrellisMatrix(side, head_dim, 1), TrellisMatrix(side, head_dim, 2), TrellisMatrix(side, head_dim, 3)},
      sketches_(head_dim) {}

void TileMatrixReader::Read(const TilePart& part, const Rope& rope, TileMatrix& out) {
  const CodecTraits& codec = TraitsOf(part.codec);
  const int exponent = part.exponent + (codec.kind == CodecKind::kPolarRecursive ? kPolarTopBinade : 0);
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    out.factor[t] = codec.has_scales ? ScaleValue(part.range, part.scales[t]) : std::ldexp(1.0, exponent);
  }
  ReadValues(part, rope, out);
  for (uint32_t t = 0; t < kTileTokens; ++t) {
    if ((part.escapes >> t & 1) != 0) out.factor[t] = 0;
  }
}

void TileMatrixReader::ReadValues(const TilePart& part, const Rope& rope, TileMatrix& out) {
  switch (TraitsOf(part.codec).kind) {
    case CodecKind::kTurbo:
      return ReadTurbo(part, out);
    case CodecKind::kTurboQjl:
      ReadTurbo(part, out);
      return AddResidual(part, out);
    case CodecKind::kQjl:
      return ReadQjl(part, out);
    case CodecKind::kQjlOutliers:
      return sketches_.ReadOutliers(part.codec, part.planes.payload, out.value.data(), out.factor.data());
    case CodecKind::kDeep:
      return ReadDeep(DeepStepOf(part.codec), matrix_.side(), matrix_.head_dim(), part.planes.payload,
                      out.value.data());
    case CodecKind::kPolarRecursive:
      return ReadRecursivePolar(matrix_.side(), matrix_.head_dim(), part.planes.payload, out.value.data());
    case CodecKind::kTrellis:
      return trellis_[TrellisBits(part.codec) - 1].ReadImages(part.planes.payload, out.value.data());
    case CodecKind::kBand:
      return ReadBanded(part, rope, out);
    case CodecKind::kPolar:
      return ReadPolar(part, rope, out);
    default:
      return ReadHalf(part, out);
  }
}

void TileMatrixReader::ReadTurbo(const TilePart& part, TileMatrix& out) const {
  std::array<uint8_t, kMaxTileCodes> codes;
  matrix_.Unpack(part.bits, TurboCodePlanes(TurboBits(part.codec), matrix_.head_dim(), part.planes), codes.data());
  std::array<float, kMaxTurboCodes> image_of;
  const TurboCodebook& book = TurboCodebookFor(part.codec, part.bits);
  for (uint32_t c = 0; c < image_of.size(); ++c) image_of[c] = book.image[c];
  for (uint32_t i = 0; i < matrix_.size(); ++i) out.value[i] = image_of[codes[i]];
}

void TileMatrixReader::ReadQjl(const TilePart& part, TileMatrix& out) {
  const uint32_t projections = QjlTileEncoder::QjlProjections(part.codec);
  sketches_.ReadSigns(part.rotation_seed, projections, part.planes.payload, out.value.data());
  for (uint32_t i = 0; i < matrix_.size(); ++i) out.value[i] *= QjlTileEncoder::kNormPerScale;
}

// What turbo codes left over, if its plane is there and the codes are whole.
void TileMatrixReader::AddResidual(const TilePart& part, TileMatrix& out) {
  const uint8_t* norms = part.planes.residual;
  if (norms == nullptr || part.bits != TurboBits(part.codec)) return;
  sketches_.AddResidual(part.rotation_seed, norms, norms + kResidualNormBytes, out.value.data());
}

void TileMatrixReader::ReadBanded(const TilePart& part, const Rope& rope, TileMatrix& out) const {
  const BandTable bands = ReadBandTable(part.bands, part.codec, matrix_.head_dim());
  ReadBands(bands, rope, matrix_.head_dim(), part.planes.payload, out.value.data());
}

void TileMatrixReader::ReadHalf(const TilePart& part, TileMatrix& out) const {
  const uint32_t head_dim = matrix_.head_dim();
  if (matrix_.side() == KvSide::kValue) {
    for (uint32_t i = 0; i < matrix_.size(); ++i) out.value[i] = HalfToFloat(LoadHalf(part.planes.payload, i));
    return;
  }
  for (uint32_t j = 0; j < head_dim; ++j) {
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      out.value[j * kTileTokens + t] = HalfToFloat(LoadHalf(part.planes.payload, t * head_dim + j));
    }
  }
}

void TileMatrixReader::ReadPolar(const TilePart& part, const Rope& rope, TileMatrix& out) const {
  const uint32_t head_dim = matrix_.head_dim();
  const uint32_t token_stride = matrix_.side() == KvSide::kKey ? 1 : head_dim;
  const uint32_t coordinate_stride = matrix_.side() == KvSide::kKey ? kTileTokens : 1;
  PolarPair polar;
  for (uint32_t p = 0; p < head_dim / 2; ++p) {
    ReadPolarPair(PolarBitsOf(part.codec), part.planes.payload, head_dim, p, polar);
    const CoordinatePair pair = PairOf(rope, head_dim, p);
    float* first = out.value.data() + pair.first * coordinate_stride;
    float* second = out.value.data() + pair.second * coordinate_stride;
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      const float radius = polar.radius[polar.Radius(t)];
      const uint32_t angle = polar.Angle(t);
      first[t * token_stride] = radius * polar.cosine[angle];
      second[t * token_stride] = radius * polar.sine[angle];
    }
  }
}

}  // namespace polarkv
