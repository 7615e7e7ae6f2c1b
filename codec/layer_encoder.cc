#include "codec/layer_encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "codec/band_planner.h"
#include "codec/key_mean_profile.h"
#include "codec/rope_phase.h"
#include "codec/tensor_rows.h"

namespace polarkv {
namespace {

uint64_t Lowest(uint32_t count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

uint32_t TileTokens(const BlockSpec& spec, uint32_t tile) {
  return std::min(kTileTokens, spec.tokens - tile * kTileTokens);
}

// Bands are worth their tables if they save more bits than those take, and so much besides (in decibels).
constexpr double kLeastBandGain = 1.0, kDecibelsPerBit = 6.0206;

}  // namespace

LayerEncoder::LayerEncoder(const BlockSpec& spec, const LayerLayout& shape, const EncodeOptions& options)
    : spec_(spec),
      shape_(shape),
      options_(options),
      keys_(spec, shape.codec.k, KvSide::kKey),
      values_(spec, shape.codec.v, KvSide::kValue) {}

uint8_t* LayerEncoder::Tile(EncodedLayer& out, PlaneKind kind, uint32_t head, uint32_t tile) const {
  const uint32_t bytes = shape_.TileBytes(kind);
  if (bytes == 0) return nullptr;
  return out.tiles[static_cast<uint32_t>(kind)].data() + (size_t{head} * spec_.tiles() + tile) * bytes;
}

// Of a tile's tokens those at the beginning of the sequence that are not to be coded.
uint64_t LayerEncoder::RawFirst(uint32_t tile, uint32_t tokens, CodecId codec) const {
  if (!TraitsOf(codec).has_scales) return 0;
  const uint64_t first = spec_.first_position + tile * uint64_t{kTileTokens};
  if (first >= options_.raw_first_tokens) return 0;
  return Lowest(static_cast<uint32_t>(std::min<uint64_t>(options_.raw_first_tokens - first, tokens)));
}

absl::Status LayerEncoder::DecideMeans(const TensorView& k, uint32_t layer, EncodedLayer& out) {
  means_.clear();
  if (options_.key_mean == KeyMeanPolicy::kNever || !TraitsOf(shape_.codec.k).has_scales) return absl::OkStatus();
  if (options_.profile != nullptr) {
    TakeProfileMeans(layer, out);
    return absl::OkStatus();
  }
  const double cost = 8.0 * VectorRecordBytes(spec_.head_dim) / (static_cast<double>(spec_.head_dim) * spec_.tokens);
  const bool decide = options_.key_mean == KeyMeanPolicy::kAuto;
  const uint32_t stride = decide ? KeyMeanStride(spec_.tokens) : 1;
  KeyMeanGain gain;
  for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
    const absl::StatusOr<KeyMeanEstimator> keys = SumKeys(k, layer, head, stride);
    if (!keys.ok()) return keys.status();
    gain.Add(*keys);
    means_.push_back(keys->SaneMean());
  }
  if (decide && !gain.Pays(cost)) {
    means_.clear();
    return absl::OkStatus();
  }
  for (uint32_t head = 0; head < spec_.kv_heads && stride != 1; ++head) {
    const absl::StatusOr<KeyMeanEstimator> keys = SumKeys(k, layer, head, 1);
    if (!keys.ok()) return keys.status();
    means_[head] = keys->SaneMean();
  }
  StoreMeans(spec_.head_dim, means_, out.means);
  out.part.key_mean = true;
  return absl::OkStatus();
}

// The head's keys that are not raw, every stride-th.
absl::StatusOr<KeyMeanEstimator> LayerEncoder::SumKeys(const TensorView& k, uint32_t layer, uint32_t head, uint32_t stride) {
  KeyMeanEstimator estimator(spec_.rope, spec_.phases, spec_.head_dim);
  for (uint32_t tile = 0; tile < spec_.tiles(); ++tile) {
    const uint32_t first = tile * kTileTokens, tokens = TileTokens(spec_, tile);
    absl::Status s = ReadFiniteRows(k, "k", layer, head, first, tokens, rows_.data());
    if (!s.ok()) return s;
    const uint64_t counted = ~RawFirst(tile, tokens, shape_.codec.k);
    const uint64_t position = spec_.first_position + first;
    estimator.Add(SumKeyTile(spec_.rope, spec_.phases, spec_.head_dim, rows_.data(), tokens, counted, stride), position);
  }
  return estimator;
}

// They cost a block nothing: tokens that they do not serve keep their keys.
void LayerEncoder::TakeProfileMeans(uint32_t layer, EncodedLayer& out) {
  if (!options_.profile->HasMeans(spec_, layer)) return;
  for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
    means_.push_back(ReadRecord(options_.profile->Mean(layer, spec_.first_kv_head + head)));
  }
  out.part.key_mean = true;
}

// Divides each head's keys, as they will be coded, into bands; or gives the layer the plain codec of as many bits.
absl::Status LayerEncoder::DecideBands(const TensorView& k, uint32_t layer, EncodedLayer& out) {
  if (!IsBanded(shape_.codec.k)) return absl::OkStatus();
  const uint32_t bytes = BandTableBytes(spec_.head_dim);
  double gain = 0;
  out.bands.resize(size_t{bytes} * spec_.kv_heads);
  for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
    BandPlanner planner(spec_.rope, spec_.head_dim);
    for (uint32_t tile = 0; tile < spec_.tiles(); ++tile) {
      const uint32_t first = tile * kTileTokens, tokens = TileTokens(spec_, tile);
      absl::Status s = ReadFiniteRows(k, "k", layer, head, first, tokens, rows_.data());
      if (!s.ok()) return s;
      const uint64_t counted = Lowest(tokens) & ~RawFirst(tile, tokens, shape_.codec.k);
      TakeMeansOff(head, spec_.first_position + first, tokens, counted);
      for (uint32_t t = 0; t < tokens; ++t) {
        if ((counted >> t & 1) != 0) planner.Add(residual_.data() + t * spec_.head_dim);
      }
    }
    WriteBandTable(planner.Plan(shape_.codec.k), spec_.head_dim, out.bands.data() + size_t{head} * bytes);
    gain += planner.CodingGain() / spec_.kv_heads;
  }
  const double cost = 8.0 * bytes / (static_cast<double>(spec_.head_dim) * spec_.tokens);
  if (options_.bands == BandPolicy::kAlways || gain >= kLeastBandGain + kDecibelsPerBit * cost) return absl::OkStatus();
  out.bands.clear();
  shape_ = MakeLayerLayout(spec_, LayerPart{{PlainCodecOf(shape_.codec.k), shape_.codec.v}});
  keys_ = SideEncoder(spec_, shape_.codec.k, KvSide::kKey);
  return absl::OkStatus();
}

// Fills residual_ and returns the tokens whose key is smaller without the mean.
uint64_t LayerEncoder::TakeMeansOff(uint32_t head, uint64_t first_position, uint32_t tokens, uint64_t counted) {
  const std::array<float, kMaxHeadDim> none{};
  return TakeMeanOff(spec_.rope, spec_.phases, spec_.head_dim, means_.empty() ? none.data() : means_[head].data(), first_position,
                     rows_.data(), tokens, counted, residual_.data());
}

void LayerEncoder::EncodeSide(KvSide side, uint32_t head, uint32_t tile, uint32_t tokens, EncodedLayer& out,
                              TileHead& head_bytes) {
  const bool key = side == KvSide::kKey;
  const CodecId codec = key ? shape_.codec.k : shape_.codec.v;
  const CodecTraits& traits = TraitsOf(codec);
  SideEncoder& encoder = key ? keys_ : values_;
  uint8_t* base = Tile(out, PlaneKind::kBase, head, tile);
  uint8_t* scales = base + (key ? shape_.base_tile.k_scales : shape_.base_tile.v_scales);
  const PlaneKind refine1 = key ? PlaneKind::kKeyRefine1 : PlaneKind::kValueRefine1;
  const PlaneKind refine0 = key ? PlaneKind::kKeyRefine0 : PlaneKind::kValueRefine0;
  const TilePlanes<uint8_t> planes = {
      base + (key ? shape_.base_tile.k_payload : shape_.base_tile.v_payload),
      traits.refine_planes >= 1 ? Tile(out, refine1, head, tile) : nullptr,
      traits.refine_planes >= 2 ? Tile(out, refine0, head, tile) : nullptr,
      traits.residual_plane ? Tile(out, PlaneKind::kKeyResidual, head, tile) : nullptr};

  uint64_t counted = Lowest(tokens) & ~RawFirst(tile, tokens, codec);
  uint64_t means = 0;
  const float* coded = rows_.data();
  if (key && !means_.empty()) {
    means = TakeMeansOff(head, spec_.first_position + tile * uint64_t{kTileTokens}, tokens, counted);
    coded = residual_.data();
  }
  const ScaleRange range = encoder.EncodeFits(coded, tokens, options_.escapes, counted, planes, scales);
  const uint64_t escapes = Lowest(tokens) & ~counted;
  for (uint32_t t = 0; t < tokens; ++t) {
    if ((escapes >> t & 1) == 0) continue;
    const size_t end = out.escapes.size();
    out.escapes.resize(end + VectorRecordBytes(spec_.head_dim));
    WriteRecord(rows_.data() + t * spec_.head_dim, spec_.head_dim, out.escapes.data() + end);
    ++out.part.escapes;
  }
  (key ? head_bytes.k_exponent : head_bytes.v_exponent) = range.base;
  (key ? head_bytes.k_shift : head_bytes.v_shift) = range.shift;
  (key ? head_bytes.k_escapes : head_bytes.v_escapes) = escapes;
  if (key) head_bytes.k_mean = means & counted;
}

absl::Status LayerEncoder::Encode(const TensorView& k, const TensorView& v, uint32_t layer, EncodedLayer& out) {
  out = {};
  if (absl::Status s = DecideMeans(k, layer, out); !s.ok()) return s;
  if (absl::Status s = DecideBands(k, layer, out); !s.ok()) return s;
  out.part.codec = shape_.codec;
  for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
    out.tiles[kind].resize(size_t{shape_.tile_bytes[kind]} * spec_.tiles() * spec_.kv_heads);
  }
  for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
    if (!out.bands.empty()) keys_.UseBands(out.bands.data() + size_t{head} * BandTableBytes(spec_.head_dim));
    for (uint32_t tile = 0; tile < spec_.tiles(); ++tile) {
      const uint32_t first = tile * kTileTokens, tokens = TileTokens(spec_, tile);
      TileHead head_bytes{};
      head_bytes.tokens = static_cast<uint16_t>(tokens);
      head_bytes.first_escape = out.part.escapes;
      if (absl::Status s = ReadFiniteRows(k, "k", layer, head, first, tokens, rows_.data()); !s.ok()) return s;
      EncodeSide(KvSide::kKey, head, tile, tokens, out, head_bytes);
      if (absl::Status s = ReadFiniteRows(v, "v", layer, head, first, tokens, rows_.data()); !s.ok()) return s;
      EncodeSide(KvSide::kValue, head, tile, tokens, out, head_bytes);
      std::memcpy(Tile(out, PlaneKind::kBase, head, tile), &head_bytes, sizeof head_bytes);
    }
  }
  return absl::OkStatus();
}

void PlaceLayer(const EncodedLayer& encoded, const BlockLayout& layout, uint32_t layer, uint8_t* bytes) {
  const LayerLayout& shape = layout.layer(layer);
  for (uint32_t kind = 0; kind < kMaxPlanes; ++kind) {
    const std::vector<uint8_t>& tiles = encoded.tiles[kind];
    uint8_t* segment = bytes + layout.SegmentOffset(layer, static_cast<PlaneKind>(kind));
    if (kind == 0) {
      std::ranges::copy(encoded.means, segment);
      std::ranges::copy(encoded.bands, segment + shape.first_band);
      std::ranges::copy(encoded.escapes, segment + shape.first_escape);
      segment += shape.first_tile;
    }
    std::ranges::copy(tiles, segment);
  }
}

}  // namespace polarkv
