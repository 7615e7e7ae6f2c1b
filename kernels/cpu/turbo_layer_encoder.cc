#include "kernels/cpu/turbo_layer_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "codec/key_mean.h"
#include "codec/lane_vectors.h"
#include "codec/rope_phase.h"
#include "codec/rotation.h"
#include "codec/tensor_rows.h"
#include "codec/tile_matrix.h"
#include "codec/turbo_codebook.h"

namespace polarkv::cpu {
namespace {

bool HasFastBody(CodecId codec) { return IsTurbo(codec) && TurboBits(codec) >= 2 && TurboBits(codec) <= 4; }

// RoPE's pairs fit registers of 16 (turbo_encode.h, KeyPairs).
bool PairsFit(const Rope& rope) {
  return rope.pairing == RopePairing::kNone || rope.dims % (rope.pairing == RopePairing::kHalf ? 64 : 32) == 0;
}

uint64_t Lowest(uint32_t count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

// Misfits err by at least .06, .14 and .5 of their energy at 4, 3 and 2 bits (codec/side_encoder.h); ordinary tokens by
// .01, .035 and .13. Below these no rounding of a scale to 1/32 octave makes a misfit.
float MostErrorOfAFit(uint32_t bits) { return bits == 4 ? .05f : bits == 3 ? .12f : .45f; }

// The arithmetic of codec/log_scale.h from the steps on. False if the scales must be coarsened.
bool StoreSteps(const int32_t* steps, uint32_t tokens, uint8_t* codes, ScaleRange& range) {
  int low = INT32_MAX, high = INT32_MIN;
  for (uint32_t t = 0; t < tokens; ++t) {
    low = std::min(low, steps[t] == kNoStep ? INT32_MAX : steps[t]);
    high = std::max(high, steps[t]);
  }
  range = {};
  std::memset(codes, 0, kTileTokens);
  if (high == kNoStep) return true;
  const int shift = high - low > kScaleCodeSpan ? 1 : 0;  // more than one makes the encoder look for outliers
  const auto coarsen = [&](int step) { return (step + shift) >> shift; };
  if (coarsen(high) - coarsen(low) > kScaleCodeSpan) return false;
  const int base = coarsen(high) - kScaleCodeSpan - 1;
  for (uint32_t t = 0; t < tokens; ++t) codes[t] = static_cast<uint8_t>(std::max(coarsen(steps[t]), base) - base);
  range = {static_cast<int16_t>(base), static_cast<uint8_t>(shift)};
  return true;
}

ScaleTables MakeScaleTables() {
  ScaleTables tables;
  for (int i = 0; i < kScaleSteps; ++i) {
    tables.thresholds[i] = kOctaveThresholds[i];
    tables.below[i] = static_cast<int32_t>(std::ranges::count_if(
        kOctaveThresholds, [&](float threshold) { return threshold <= 1 + static_cast<float>(i) / kScaleSteps; }));
  }
  return tables;
}

}  // namespace

bool TurboLayerEncoder::Takes(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                              const EncodeOptions& options, InstructionSet set) {
  const bool uniform = std::ranges::all_of(spec.layer_parts, [&](const LayerPart& part) { return part.codec == spec.codec; });
  return HasAvx512(set) && uniform && HasFastBody(spec.codec.k) && HasFastBody(spec.codec.v) &&
         spec.head_dim != 0 && spec.head_dim % 64 == 0 && spec.head_dim <= kMaxHeadDim && k.stride[3] == 1 &&
         v.stride[3] == 1 && options.key_mean != KeyMeanPolicy::kAlways && PairsFit(spec.rope);
}

TurboLayerEncoder::Side::Side(const BlockSpec& spec, KvSide side, const TensorView& rows)
    : tensor(rows),
      codec(side == KvSide::kKey ? spec.codec.k : spec.codec.v),
      name(side == KvSide::kKey ? "k" : "v"),
      most_error(MostErrorOfAFit(TurboBits(codec))),
      reference(spec, codec, side) {
  shape.bits = TurboBits(codec);
  shape.head_dim = spec.head_dim;
  shape.keys = side == KvSide::kKey;
  shape.dtype = static_cast<uint32_t>(rows.dtype);
  shape.gain = RotationGain(spec.head_dim);
  shape.rotated_norm = RotatedNorm(spec.head_dim);
}

TurboLayerEncoder::TurboLayerEncoder(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                     const EncodeOptions& options, uint32_t raw_tokens)
    : spec_(spec),
      options_(options),
      raw_tokens_(raw_tokens),
      tables_(MakeScaleTables()),
      keys_(spec, KvSide::kKey, k),
      values_(spec, KvSide::kValue, v) {
  const std::array<float, kMaxHeadDim> signs = RotationSigns(spec.rotation_seed);
  for (uint32_t j = 0; j < kMaxHeadDim; ++j) {
    // Packing puts four numbers of one register next to four of the other.
    const uint32_t quad = j % 32 / 8 * 4, from = j % 8 / 4, i = j % 4;
    negated_[0][j] = signs[j / 32 * 32 + 16 * from + quad + i] < 0 ? -1 : 0;
    negated_[1][j] = signs[j / 32 * 32 + 2 * (quad + i) + from] < 0 ? -1 : 0;
  }
  plain_keys_ = keys_.shape;
  plain_keys_.sign_bits16 = reinterpret_cast<const uint16_t*>(no_signs_.data());
  plain_keys_.sign_bits32 = no_signs_.data();
  for (Side* side : {&keys_, &values_}) {
    for (uint32_t order = 0; order < 2; ++order) side->shape.negated[order] = negated_[order].data();
  }
  if (options.key_mean == KeyMeanPolicy::kNever) return;
  turns_.resize(spec.tiles() + 1);
  for (uint32_t tile = 0; tile <= spec.tiles(); ++tile) {
    const uint64_t position = tile == spec.tiles() ? 1 : spec.first_position + tile * uint64_t{kTileTokens};
    for (uint32_t p = 0; p < spec.head_dim / 2u; ++p) {
      const uint32_t r = p / 16, l = p % 16;
      const uint32_t pair = spec.rope.pairing == RopePairing::kHalf ? 32 * (r / 2) + 2 * l + r % 2 : p;
      const bool turns = p < spec.phases.size();
      const Direction turn = turns ? DirectionOfTurns(spec.phases[pair] * position) : Direction{1, 0};
      turns_[tile].cosine[p] = turn.cosine;
      turns_[tile].sine[p] = turn.sine;
    }
  }
}

// Adds a tile's keys to the sums that tell whether means are worth taking off.
void TurboLayerEncoder::SumKeys(uint32_t layer, uint32_t head, uint32_t tile) {
  const TensorView& k = keys_.tensor;
  const int64_t bytes = k.dtype == Dtype::kF32 ? 4 : 2;
  const uint32_t first = tile * kTileTokens;
  const TurboEncodeRows rows = {
      static_cast<const uint8_t*>(k.data) + bytes * (layer * k.stride[0] + head * k.stride[1] + first * k.stride[2]),
      bytes * k.stride[2], TileTokenCount(spec_, tile)};
  const KeyPairs pairs = {spec_.rope.pairing == RopePairing::kHalf ? spec_.rope.dims / 2u : 0, &turns_[tile], &turns_.back()};
  std::array<float, kMaxHeadDim> sum{};
  float energy = 0;
  SumKeysAvx512(plain_keys_, rows, raw_tokens_ > first ? raw_tokens_ - first : 0, pairs, sum.data(), &energy);
  energy_ += energy;
  for (uint32_t j = 0; j < spec_.head_dim; ++j) head_sum_[j] += sum[j];
}

// The head is complete: by how much would its keys' energy fall?
void TurboLayerEncoder::AddRemovedEnergy() {
  const uint32_t counted = spec_.tokens - raw_tokens_;
  for (double& sum : head_sum_) removed_ += counted > 0 ? sum * sum / counted : 0;
  head_sum_ = {};
}

// As LayerEncoder does it, of which this is the part for tiles that need more than one look.
TurboLayerEncoder::TileSide TurboLayerEncoder::EncodeByReference(Side& side, uint32_t tokens, uint64_t counted,
                                                                 const TilePlanes<uint8_t>& planes, uint8_t* scales) {
  const uint32_t d = spec_.head_dim;
  const auto clear = [&] {
    std::memset(scales, 0, kTileTokens);
    std::memset(planes.payload, 0, size_t{16} * d);
    if (planes.refine1 != nullptr) std::memset(planes.refine1, 0, size_t{8} * d);
    if (planes.refine0 != nullptr) std::memset(planes.refine0, 0, size_t{8} * d);
  };
  clear();
  TileSide out;
  out.range = side.reference.Encode(rows_.data(), tokens, counted, planes, scales);
  const uint64_t misfits =
      options_.escapes ? side.reference.Misfits(rows_.data(), tokens, counted, planes, scales, out.range) : 0;
  if (misfits != 0) {
    counted &= ~misfits;
    clear();
    out.range = side.reference.Encode(rows_.data(), tokens, counted, planes, scales);
  }
  out.escapes = Lowest(tokens) & ~counted;
  return out;
}

absl::StatusOr<TurboLayerEncoder::TileSide> TurboLayerEncoder::EncodeSide(Side& side, uint32_t layer, uint32_t head,
                                                                          uint32_t tile, uint64_t counted,
                                                                          const TilePlanes<uint8_t>& planes,
                                                                          uint8_t* scales,
                                                                          std::vector<uint8_t>& escapes) {
  const TensorView& tensor = side.tensor;
  const uint32_t first = tile * kTileTokens, tokens = TileTokenCount(spec_, tile);
  const int64_t bytes = tensor.dtype == Dtype::kF32 ? 4 : 2;
  TurboEncodeRows rows = {static_cast<const uint8_t*>(tensor.data) +
                              bytes * (layer * tensor.stride[0] + head * tensor.stride[1] + first * tensor.stride[2]),
                          bytes * tensor.stride[2], tokens, counted};
  if (counted == Lowest(tokens)) rows.counted = ~uint64_t{0};
  tile_.crumbs = planes.payload;
  tile_.refine1 = planes.refine1;
  tile_.refine0 = planes.refine0;
  TileSide out;
  out.escapes = Lowest(tokens) & ~counted;
  alignas(64) int32_t steps[kTileTokens];
  const bool finite = TurboEncodeAvx512(side.shape, rows, tile_);
  bool fits = finite;
  if (finite) {
    ScaleStepsAvx512(tables_, tile_, steps);
    fits = StoreSteps(steps, tokens, scales, out.range);
    const float most = *std::max_element(tile_.error, tile_.error + kTileTokens);
    fits = fits && (most < side.most_error || !options_.escapes);
  }
  if (fits && out.escapes == 0) return out;
  absl::Status s = ReadFiniteRows(tensor, side.name, layer, head, first, tokens, rows_.data());
  if (!s.ok()) return s;
  if (!fits) out = EncodeByReference(side, tokens, counted, planes, scales);
  for (uint32_t t = 0; t < tokens; ++t) {
    if ((out.escapes >> t & 1) == 0) continue;
    const size_t end = escapes.size();
    escapes.resize(end + VectorRecordBytes(spec_.head_dim));
    WriteRecord(rows_.data() + t * spec_.head_dim, spec_.head_dim, escapes.data() + end);
  }
  return out;
}

absl::StatusOr<bool> TurboLayerEncoder::Encode(uint32_t layer, const BlockLayout& layout, uint8_t* bytes,
                                               std::vector<uint8_t>& escapes) {
  const LayerLayout& shape = layout.layer(layer);
  const BaseTileLayout& at = shape.base_tile;
  const bool may_have_means = options_.key_mean != KeyMeanPolicy::kNever;
  energy_ = removed_ = 0;
  for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
    for (uint32_t tile = 0; tile < spec_.tiles(); ++tile) {
      const auto place = [&](PlaneKind kind) -> uint8_t* {
        if (shape.TileBytes(kind) == 0) return nullptr;
        return bytes + layout.SegmentOffset(layer, kind) + layout.TileOffset(layer, kind, head, tile);
      };
      const uint32_t first = tile * kTileTokens, tokens = TileTokenCount(spec_, tile);
      const uint32_t raw = raw_tokens_ > first ? raw_tokens_ - first : 0;
      const uint64_t counted = Lowest(tokens) & ~Lowest(raw);
      uint8_t* base = place(PlaneKind::kBase);
      TileHead tile_head{};
      tile_head.tokens = static_cast<uint16_t>(tokens);
      tile_head.first_escape = static_cast<uint32_t>(escapes.size() / VectorRecordBytes(spec_.head_dim));
      const absl::StatusOr<TileSide> key =
          EncodeSide(keys_, layer, head, tile, counted,
                     {base + at.k_payload, place(PlaneKind::kKeyRefine1), place(PlaneKind::kKeyRefine0), nullptr},
                     base + at.k_scales, escapes);
      if (!key.ok()) return key.status();
      const absl::StatusOr<TileSide> value =
          EncodeSide(values_, layer, head, tile, counted,
                     {base + at.v_payload, place(PlaneKind::kValueRefine1), place(PlaneKind::kValueRefine0), nullptr},
                     base + at.v_scales, escapes);
      if (!value.ok()) return value.status();
      if (may_have_means) SumKeys(layer, head, tile);
      tile_head.k_exponent = key->range.base;
      tile_head.k_shift = key->range.shift;
      tile_head.k_escapes = key->escapes;
      tile_head.v_exponent = value->range.base;
      tile_head.v_shift = value->range.shift;
      tile_head.v_escapes = value->escapes;
      std::memcpy(base, &tile_head, sizeof tile_head);
    }
    AddRemovedEnergy();
  }
  // The reference takes means off where that removes a tenth of the energy, at least. What is not finite is for it, too.
  constexpr double kSurelyTooLittle = .095;
  return !may_have_means || removed_ <= kSurelyTooLittle * energy_;
}

}  // namespace polarkv::cpu
