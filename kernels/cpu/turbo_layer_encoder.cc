#include "kernels/cpu/turbo_layer_encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "codec/key_mean.h"
#include "codec/lane_vectors.h"
#include "codec/rotation.h"
#include "codec/tensor_rows.h"
#include "codec/tile_matrix.h"
#include "codec/trellis_code.h"
#include "codec/turbo_codebook.h"

namespace polarkv::cpu {
namespace {

// Null: there is none.
TurboEncodeBody* BodyOf(CodecId codec, uint32_t head_dim, InstructionSet set) {
  if (!IsTrellis(codec) && !IsTurbo(codec)) return nullptr;
  const uint32_t bits = IsTrellis(codec) ? TrellisBits(codec) : TurboBits(codec);
  return TurboEncodeBodyFor(set, IsTrellis(codec), bits, head_dim);
}

uint64_t Lowest(uint32_t count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

// Misfits err by at least .05, .06, .14, .5 and 2.3 of their energy at 5 to 1 bits (codec/side_encoder.h); ordinary tokens by
// .0025, .01, .035, .13 and .57. Below these no rounding of a scale to 1/64 octave makes a misfit.
// Of trellis codes misfits err by .11, .39 and 1.7 at 3, 2 and 1 bits; ordinary tokens by .03, .1 and .43.
float MostErrorOfAFit(CodecId codec) {
  if (IsTrellis(codec)) return TrellisBits(codec) == 3 ? .09f : TrellisBits(codec) == 2 ? .33f : 1.4f;
  constexpr float kOfTurbo[] = {1.9f, .45f, .12f, .05f, .04f};  // of 1 to 5 bits
  return kOfTurbo[TurboBits(codec) - 1];
}

std::vector<TrellisPlace> TrellisPlaces(KvSide side, uint32_t head_dim) {
  const bool keys = side == KvSide::kKey;
  const uint32_t rows = keys ? kTileTokens : head_dim, atoms = (keys ? head_dim : kTileTokens) / 16;
  std::vector<TrellisPlace> places;
  for (uint32_t atom = 0; atom < atoms; ++atom) {
    for (uint32_t row = 0; row < rows; ++row) {
      const AtomPlace place = keys ? KeyAtom(head_dim, row, atom) : ValueAtom(head_dim, row, atom);
      places.push_back({place.base_word, place.refine_word, place.vector});
    }
  }
  return places;
}

// Scales below 2^-100 may read back as subnormal numbers, which err more than their codes do.
constexpr int kLeastStep = -100 * kScaleSteps;

struct StoredSteps {
  ScaleRange range;
  bool fit;       // false: the scales must be coarsened
  bool ordinary;  // none is so small that reading rounds it
};

// The arithmetic of codec/log_scale.h from the steps on.
StoredSteps StoreSteps(const int32_t* steps, uint32_t tokens, uint8_t* codes) {
  int low = INT32_MAX, high = INT32_MIN;
  for (uint32_t t = 0; t < tokens; ++t) {
    low = std::min(low, steps[t] == kNoStep ? INT32_MAX : steps[t]);
    high = std::max(high, steps[t]);
  }
  std::memset(codes, 0, kTileTokens);
  if (high == kNoStep) return {{}, true, true};
  const int shift = high - low > kScaleCodeSpan ? 1 : 0;  // more than one makes the encoder look for outliers
  const auto coarsen = [&](int step) { return (step + shift) >> shift; };
  if (coarsen(high) - coarsen(low) > kScaleCodeSpan) return {{}, false, true};
  const int base = coarsen(high) - kScaleCodeSpan - 1;
  for (uint32_t t = 0; t < tokens; ++t) codes[t] = static_cast<uint8_t>(std::max(coarsen(steps[t]), base) - base);
  return {{static_cast<int16_t>(base), static_cast<uint8_t>(shift)}, true, low >= kLeastStep};
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

bool TurboLayerEncoder::Takes(uint32_t head_dim, CodecPair codec, const TensorView& k, const TensorView& v,
                              InstructionSet set) {
  return IsKnownHeadDim(head_dim) && BodyOf(codec.k, head_dim, set) != nullptr && BodyOf(codec.v, head_dim, set) != nullptr &&
         k.stride[3] == 1 && v.stride[3] == 1;
}

TurboLayerEncoder::Side::Side(const BlockSpec& spec, KvSide side, const TensorView& rows, InstructionSet set)
    : tensor(rows),
      codec(side == KvSide::kKey ? spec.codec.k : spec.codec.v),
      name(side == KvSide::kKey ? "k" : "v"),
      encode(BodyOf(codec, spec.head_dim, set)),
      places(IsTrellis(codec) ? TrellisPlaces(side, spec.head_dim) : std::vector<TrellisPlace>()),
      most_error(MostErrorOfAFit(codec)),
      reference(spec, codec, side) {
  shape.bits = IsTrellis(codec) ? TrellisBits(codec) : TurboBits(codec);
  shape.places = places.data();
  shape.head_dim = spec.head_dim;
  shape.keys = side == KvSide::kKey;
  shape.dtype = static_cast<uint32_t>(rows.dtype);
  shape.gain = RotationGain(spec.head_dim);
  shape.rotated_norm = RotatedNorm(spec.head_dim);
  shape.to_unit_variance = kToUnitVariance;
}

TurboLayerEncoder::TurboLayerEncoder(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                     const EncodeOptions& options, uint32_t raw_tokens, InstructionSet set)
    : spec_(spec),
      set_(set),
      options_(options),
      raw_tokens_(raw_tokens),
      tables_(MakeScaleTables()),
      scale_steps_(ScaleStepsBodyFor(set)),
      keys_(spec, KvSide::kKey, k, set),
      values_(spec, KvSide::kValue, v, set) {
  const std::array<float, kMaxHeadDim> signs = RotationSigns(spec.rotation_seed);
  for (uint32_t j = 0; j < kMaxHeadDim; ++j) {
    sign_bits32_[j] = signs[j] < 0 ? 0x80000000u : 0;
    sign_bits16_[j] = signs[j] < 0 ? 0x8000u : 0;
  }
  for (Side* side : {&keys_, &values_}) {
    side->shape.sign_bits16 = sign_bits16_.data();
    side->shape.sign_bits32 = sign_bits32_.data();
  }
  float_keys_ = keys_.shape;
  float_keys_.dtype = static_cast<uint32_t>(Dtype::kF32);
  if (options.key_mean == KeyMeanPolicy::kNever) return;
  PrepareMeans();
}

TurboEncodeRows TurboLayerEncoder::RowsOf(const Side& side, uint32_t layer, uint32_t head, uint32_t tile) const {
  const TensorView& tensor = side.tensor;
  const int64_t bytes = tensor.dtype == Dtype::kF32 ? 4 : 2;
  const int64_t first = int64_t{tile} * kTileTokens;
  const auto* data = static_cast<const uint8_t*>(tensor.data) +
                     bytes * (layer * tensor.stride[0] + head * tensor.stride[1] + first * tensor.stride[2]);
  return {data, bytes * tensor.stride[2], TileTokenCount(spec_, tile), ~uint64_t{0}};
}

// The tile's tokens that are not raw for being the first.
uint64_t TurboLayerEncoder::Counted(uint32_t tile) const {
  const uint32_t first = tile * kTileTokens;
  return Lowest(TileTokenCount(spec_, tile)) & ~Lowest(raw_tokens_ > first ? raw_tokens_ - first : 0);
}

absl::StatusOr<TurboLayerEncoder::TileSide> TurboLayerEncoder::EncodeSide(Side& side, uint32_t layer, uint32_t head, uint32_t tile,
                                                                          const TilePlanes<uint8_t>& planes,
                                                                          uint8_t* scales,
                                                                          std::vector<uint8_t>& escapes) {
  const uint32_t tokens = TileTokenCount(spec_, tile);
  uint64_t counted = Counted(tile);
  const bool without_mean = &side == &keys_ && !means_.empty() && has_mean_[head];
  TurboEncodeRows rows = RowsOf(side, layer, head, tile);
  uint64_t means = 0;
  if (without_mean) {
    const absl::StatusOr<uint64_t> taken = TakeMeansOff(layer, head, tile);
    if (!taken.ok()) return taken.status();
    means = *taken;
    rows.next = rows.data + kTileTokens * rows.token_bytes;
    rows.data = reinterpret_cast<const uint8_t*>(residual_.data());
    rows.token_bytes = 4 * int64_t{spec_.head_dim};
  }
  if (counted != Lowest(tokens)) rows.counted = counted;
  tile_.crumbs = planes.payload;
  tile_.refine1 = planes.refine1;
  tile_.refine0 = planes.refine0;
  TileSide out;
  out.escapes = Lowest(tokens) & ~counted;
  alignas(64) int32_t steps[kTileTokens];
  const bool finite = side.encode(without_mean ? float_keys_ : side.shape, rows, tile_);
  bool fits = finite;
  if (finite) {
    scale_steps_(tables_, tile_, steps);
    const StoredSteps stored = StoreSteps(steps, tokens, scales);
    out.range = stored.range;
    const float most = *std::max_element(tile_.error, tile_.error + kTileTokens);
    fits = stored.fit && ((stored.ordinary && most < side.most_error) || !options_.escapes);
  }
  if (!fits || out.escapes != 0) {
    absl::Status s = ReadFiniteRows(side.tensor, side.name, layer, head, tile * kTileTokens, tokens, rows_.data());
    if (!s.ok()) return s;
    const float* coded = without_mean ? residual_.data() : rows_.data();
    if (!fits) out.range = side.reference.EncodeFits(coded, tokens, options_.escapes, counted, planes, scales);
    out.escapes = Lowest(tokens) & ~counted;
  }
  for (uint32_t t = 0; t < tokens; ++t) {
    if ((out.escapes >> t & 1) == 0) continue;
    const size_t end = escapes.size();
    escapes.resize(end + VectorRecordBytes(spec_.head_dim));
    WriteRecord(rows_.data() + t * spec_.head_dim, spec_.head_dim, escapes.data() + end);
  }
  out.means = means & ~out.escapes;
  return out;
}

// `watch`: whether means would pay is found out on the way; false if so, as soon as it shows.
absl::StatusOr<bool> TurboLayerEncoder::EncodeTiles(uint32_t layer, const BlockLayout& layout, uint8_t* bytes, bool watch,
                                                    Records& records) {
  constexpr uint32_t kFirstLook = 4;  // tiles
  const LayerLayout& shape = layout.layer(layer);
  const BaseTileLayout& at = shape.base_tile;
  KeyMeanGain gain;
  for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
    HeadSums sums;
    for (uint32_t tile = 0; tile < spec_.tiles(); ++tile) {
      const auto place = [&](PlaneKind kind) -> uint8_t* {
        if (shape.TileBytes(kind) == 0) return nullptr;
        return bytes + layout.SegmentOffset(layer, kind) + layout.TileOffset(layer, kind, head, tile);
      };
      uint8_t* base = place(PlaneKind::kBase);
      TileHead tile_head{};
      tile_head.tokens = static_cast<uint16_t>(TileTokenCount(spec_, tile));
      tile_head.first_escape = static_cast<uint32_t>(records.escapes.size() / VectorRecordBytes(spec_.head_dim));
      const absl::StatusOr<TileSide> key =
          EncodeSide(keys_, layer, head, tile,
                     {base + at.k_payload, place(PlaneKind::kKeyRefine1), place(PlaneKind::kKeyRefine0), nullptr},
                     base + at.k_scales, records.escapes);
      if (!key.ok()) return key.status();
      const absl::StatusOr<TileSide> value =
          EncodeSide(values_, layer, head, tile,
                     {base + at.v_payload, place(PlaneKind::kValueRefine1), place(PlaneKind::kValueRefine0), nullptr},
                     base + at.v_scales, records.escapes);
      if (!value.ok()) return value.status();
      tile_head.k_exponent = key->range.base;
      tile_head.k_shift = key->range.shift;
      tile_head.k_escapes = key->escapes;
      tile_head.k_mean = key->means;
      tile_head.v_exponent = value->range.base;
      tile_head.v_shift = value->range.shift;
      tile_head.v_escapes = value->escapes;
      std::memcpy(base, &tile_head, sizeof tile_head);
      if (!watch) continue;
      if (absl::Status s = AddKeys(layer, head, tile, KeyMeanStride(spec_.tokens), sums); !s.ok()) return s;
      if (head == 0 && tile + 1 == kFirstLook) {
        KeyMeanGain so_far;
        so_far.Add(Estimate(sums));
        if (so_far.Pays(mean_cost_)) return false;
      }
    }
    if (watch) gain.Add(Estimate(sums));
    if (watch && head == 0 && gain.Pays(mean_cost_)) return false;
  }
  return !watch || !gain.Pays(mean_cost_);
}

absl::Status TurboLayerEncoder::Encode(uint32_t layer, const BlockLayout& layout, uint8_t* bytes, Records& records) {
  records = {};
  means_.clear();
  if (options_.profile != nullptr) {
    TakeProfileMeans(layer);
    return EncodeTiles(layer, layout, bytes, false, records).status();
  }
  bool watch = options_.key_mean == KeyMeanPolicy::kAuto && !expects_means_;
  for (;; watch = false) {
    if (options_.key_mean != KeyMeanPolicy::kNever && !watch) {
      if (absl::Status s = DecideMeans(layer, records); !s.ok()) return s;
    }
    const absl::StatusOr<bool> done = EncodeTiles(layer, layout, bytes, watch, records);
    if (!done.ok()) return done.status();
    if (*done) break;
    records = {};
  }
  expects_means_ = !means_.empty();
  return absl::OkStatus();
}

}  // namespace polarkv::cpu
