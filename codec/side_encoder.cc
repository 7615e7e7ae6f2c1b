#include "codec/side_encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "codec/block_layout.h"
#include "codec/half_tile.h"
#include "codec/outlier_sketch.h"
#include "codec/polar_tile.h"
#include "codec/turbo_codebook.h"

namespace polarkv {
namespace {

// Relative squared error of a codec on ordinary (rotated, so Gaussian) vectors under the unbiased scale.
double OrdinaryError(CodecId codec) {
  // Of the turbo codes of 1 to 5 bits.
  constexpr double kTurboDistortion[] = {.3634, .1175, .0345, .0095, .0025};
  const CodecTraits& traits = TraitsOf(codec);
  double distortion = 0;
  switch (traits.kind) {
    case CodecKind::kTrellis:
      distortion = codec == CodecId::kTrellis1 ? .303 : codec == CodecId::kTrellis2 ? .089 : .0275;
      break;
    case CodecKind::kDeep:
      distortion = codec == CodecId::kDeep1_5   ? .15
                   : codec == CodecId::kDeep2   ? .075
                   : codec == CodecId::kDeep2_5 ? .04
                                                : .02;
      break;
    case CodecKind::kBand:  // without a spectrum; with one they err less
      distortion = codec == CodecId::kBand2     ? .089
                   : codec == CodecId::kBand2_5 ? .058
                   : codec == CodecId::kBand3   ? .0275
                                                : .0095;
      break;
    default:
      distortion = kTurboDistortion[TurboBits(codec) - 1];
  }
  return distortion / (1 - distortion);
}

// Below this a token errs no worse than one of ordinary three-bit codes: not worth sixteen bits a coordinate.
constexpr double kTolerableExcess = .05;

// At most this many tokens of a tile are stored raw so that the others keep fine scales.
constexpr int kMaxScaleOutliers = 4;

double SquaredNorm(const float* row, uint32_t head_dim) {
  double sum = 0;
  for (uint32_t j = 0; j < head_dim; ++j) sum += double{row[j]} * row[j];
  return sum;
}

// The tokens outside the span of scales that holds the most tokens, if they are few; scales go with norms.
uint64_t ScaleOutliers(const float* rows, uint32_t tokens, uint64_t counted, uint32_t head_dim) {
  int step[kTileTokens];
  uint64_t nonzero = 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    const double square = (counted >> t & 1) != 0 ? SquaredNorm(rows + t * head_dim, head_dim) : 0;
    if (!(square > 0)) continue;
    const double norm = std::sqrt(square);
    const int binade = std::ilogb(norm);
    step[t] = ScaleStep(static_cast<float>(std::ldexp(norm, -binade)), binade);
    nonzero |= uint64_t{1} << t;
  }
  // What a shift of 1 holds, less an octave: scales are not quite in proportion to norms.
  constexpr int kSpan = 2 * kScaleCodeSpan - kScaleSteps;
  uint64_t best = 0;
  for (uint32_t low = 0; low < tokens; ++low) {
    if ((nonzero >> low & 1) == 0) continue;
    uint64_t inside = 0;
    for (uint32_t t = 0; t < tokens; ++t) {
      if ((nonzero >> t & 1) != 0 && step[t] >= step[low] && step[t] <= step[low] + kSpan) inside |= uint64_t{1} << t;
    }
    if (std::popcount(inside) > std::popcount(best)) best = inside;
  }
  const uint64_t outside = nonzero & ~best;
  return std::popcount(outside) <= kMaxScaleOutliers ? outside : 0;
}

}  // namespace

SideEncoder::SideEncoder(const BlockSpec& spec, CodecId codec, KvSide side) : spec_(&spec), codec_(codec) {
  if (IsBanded(codec)) {
    auto banded = std::make_unique<BandTileEncoder>(spec.rope, spec.head_dim);
    banded_ = banded.get();
    rotated_ = std::move(banded);
  } else if (HasOutlierChannels(codec)) {
    rotated_ = std::make_unique<OutlierTileEncoder>(codec, spec.head_dim);
  } else if (TraitsOf(codec).rotates) {
    rotated_ = MakeRotatedTileEncoder(codec, side, spec.head_dim, spec.rotation_seed);
  } else {
    return;
  }
  decoder_ = std::make_unique<TileDecoder>(side, spec.head_dim, spec.rotation_seed);
  decoded_ = std::make_unique<float[]>(kMaxTileCodes);
}

void SideEncoder::UseBands(const uint8_t* table) {
  bands_ = table;
  banded_->SetBands(ReadBandTable(table, codec_, spec_->head_dim));
}

ScaleRange SideEncoder::Encode(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                               uint8_t* scales) const {
  if (rotated_ != nullptr) return rotated_->Encode(rows, tokens, counted, planes, scales);
  const int exponent = codec_ == CodecId::kFp16 ? EncodeHalfTile(rows, tokens, spec_->head_dim, planes.payload)
                                                : EncodePolarTile(PolarBitsOf(codec_), rows, tokens, spec_->head_dim,
                                                                  spec_->rope, planes.payload);
  return {static_cast<int16_t>(exponent), 0};
}

void SideEncoder::Clear(const TilePlanes<uint8_t>& planes, uint8_t* scales) const {
  const CodecTraits& traits = TraitsOf(codec_);
  const size_t plane = size_t{8} * spec_->head_dim;
  if (traits.has_scales) std::memset(scales, 0, kTileTokens);
  std::memset(planes.payload, 0, PayloadBytes(traits, spec_->head_dim));
  if (planes.refine1 != nullptr) std::memset(planes.refine1, 0, plane);
  if (planes.refine0 != nullptr) std::memset(planes.refine0, 0, plane);
  if (planes.residual != nullptr) std::memset(planes.residual, 0, kResidualNormBytes + plane);
}

ScaleRange SideEncoder::EncodeFits(const float* rows, uint32_t tokens, bool escapes, uint64_t& counted,
                                   const TilePlanes<uint8_t>& planes, uint8_t* scales) {
  Clear(planes, scales);
  const ScaleRange range = Encode(rows, tokens, counted, planes, scales);
  const uint64_t misfits = escapes ? Misfits(rows, tokens, counted, planes, scales, range) : 0;
  if (misfits == 0) return range;
  counted &= ~misfits;
  Clear(planes, scales);
  return Encode(rows, tokens, counted, planes, scales);
}

uint64_t SideEncoder::Misfits(const float* rows, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                              const uint8_t* scales, ScaleRange range) {
  const CodecKind kind = TraitsOf(codec_).kind;
  if (!TraitsOf(codec_).has_scales) return 0;
  if (kind == CodecKind::kQjl || kind == CodecKind::kQjlOutliers || kind == CodecKind::kTurboQjl) {
    return 0;  // a sketch's error says nothing about its scores
  }
  TilePart part{};
  part.codec = codec_;
  part.bits = HasTurboCodes(codec_) ? TurboBits(codec_) : 0;
  part.range = range;
  part.scales = scales;
  part.planes = {planes.payload, planes.refine1, planes.refine0, planes.residual};
  part.escapes = ~counted;
  part.rotation_seed = spec_->rotation_seed;
  part.bands = bands_;
  decoder_->Decode(part, spec_->rope, tokens, decoded_.get());
  const double ordinary = OrdinaryError(codec_);
  const double limit = std::max(4 * ordinary, ordinary + kTolerableExcess);
  uint64_t misfits = range.shift > 1 ? ScaleOutliers(rows, tokens, counted, spec_->head_dim) : 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    if ((counted >> t & 1) == 0) continue;
    const float* row = rows + t * spec_->head_dim;
    const float* read = decoded_.get() + t * spec_->head_dim;
    double error = 0;
    for (uint32_t j = 0; j < spec_->head_dim; ++j) error += (double{row[j]} - read[j]) * (double{row[j]} - read[j]);
    if (error > limit * SquaredNorm(row, spec_->head_dim)) misfits |= uint64_t{1} << t;
  }
  return misfits;
}

}  // namespace polarkv
