#include "kernels/cuda/finished_block.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "codec/block_view.h"
#include "codec/key_mean.h"
#include "codec/largest_magnitude.h"
#include "codec/rope_phase.h"
#include "codec/side_encoder.h"
#include "codec/tile_matrix.h"
#include "kernels/cuda/encode_args.h"

namespace polarkv::cuda {
namespace {

std::optional<CodeKind> KindOf(CodecId codec) {
  for (const CodeKind kind : {kTurbo2, kTurbo3, kTurbo4, kTrellis1, kTrellis2, kTrellis3}) {
    if (CodecOfKind(kind) == codec) return kind;
  }
  return std::nullopt;
}

uint64_t Lowest(uint32_t count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

// One layer's tiles, which it completes in place, and the escape records that belong behind them.
class LayerFinisher {
 public:
  LayerFinisher(const ExpectedBlock& block, const EncodeOptions& options, const RowReader& rows)
      : block_(block),
        options_(options),
        read_(rows),
        keys_(block.spec, block.spec.codec.k, KvSide::kKey),
        values_(block.spec, block.spec.codec.v, KvSide::kValue),
        rows_(size_t{kTileTokens} * block.spec.head_dim),
        residual_(rows_.size()) {}

  // Whether the layer of the last call has means.
  bool has_means() const { return !means_.empty(); }

  absl::StatusOr<std::vector<uint8_t>> Finish(uint32_t layer, std::span<const TileReport> reports, uint8_t* bytes) {
    const BlockSpec& spec = block_.spec;
    std::vector<uint8_t> escapes;
    at_ = {layer, 0, 0};
    if (absl::Status s = FindMeans(reports, bytes); !s.ok()) return s;
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
        at_ = {layer, head, tile};
        uint8_t* base = Tile(PlaneKind::kBase, bytes);
        TileHead tile_head;
        std::memcpy(&tile_head, base, sizeof tile_head);
        tile_head.first_escape = static_cast<uint32_t>(escapes.size() / VectorRecordBytes(spec.head_dim));
        const TileReport& report = ReportOf(reports);
        for (const KvSide side : {KvSide::kKey, KvSide::kValue}) {
          if (absl::Status s = FinishSide(side, report, bytes, tile_head, escapes); !s.ok()) return s;
        }
        std::memcpy(base, &tile_head, sizeof tile_head);
      }
    }
    return escapes;
  }

 private:
  struct Cursor {
    uint32_t layer, head, tile;
  };

  uint8_t* Tile(PlaneKind kind, uint8_t* bytes) const {
    if (block_.layout.layer(at_.layer).TileBytes(kind) == 0) return nullptr;
    return bytes + block_.layout.SegmentOffset(at_.layer, kind) +
           block_.layout.TileOffset(at_.layer, kind, at_.head, at_.tile);
  }

  const TileReport& ReportOf(std::span<const TileReport> reports) const {
    return reports[(size_t{at_.layer} * block_.spec.kv_heads + at_.head) * block_.spec.tiles() + at_.tile];
  }

  // The means of the layer's heads: a profile's, or what the device wrote before the tiles.
  absl::Status FindMeans(std::span<const TileReport> reports, const uint8_t* bytes) {
    const BlockSpec& spec = block_.spec;
    means_.clear();
    if (block_.means == MeanSource::kGiven && options_.profile->HasMeans(spec, at_.layer)) {
      for (uint32_t head = 0; head < spec.kv_heads; ++head) {
        means_.push_back(ReadRecord(options_.profile->Mean(at_.layer, spec.first_kv_head + head)));
      }
    }
    if (!AreOwn(block_.means)) return absl::OkStatus();
    if (absl::Status s = CheckAllKeys(reports); !s.ok()) return s;
    if (ReportOf(reports).has_means == 0) return absl::OkStatus();
    const uint8_t* record = bytes + block_.layout.SegmentOffset(at_.layer, PlaneKind::kBase);
    for (uint32_t head = 0; head < spec.kv_heads; ++head, record += VectorRecordBytes(spec.head_dim)) {
      means_.push_back(ReadRecord(ViewRecord(record, spec.head_dim)));
    }
    return absl::OkStatus();
  }

  // The reference reads all of a layer's keys, for their mean, before any values. Leaves the layer's first tile.
  absl::Status CheckAllKeys(std::span<const TileReport> reports) {
    const uint32_t layer = at_.layer;
    for (uint32_t head = 0; head < block_.spec.kv_heads; ++head) {
      for (uint32_t tile = 0; tile < block_.spec.tiles(); ++tile) {
        at_ = {layer, head, tile};
        const TileReport& report = ReportOf(reports);
        if (report.not_finite[0] == 0) continue;
        absl::Status s = ReadRows(KvSide::kKey);
        return s.ok() ? NotFinite(KvSide::kKey, report.not_finite[0]) : s;
      }
    }
    at_ = {layer, 0, 0};
    return absl::OkStatus();
  }

  // Kernels take off ordinary means alone.
  bool IsLeftToReference() const {
    if (means_.empty()) return false;
    const float* mean = means_[at_.head].data();
    return LargestMagnitude(mean, block_.spec.head_dim) != 0 && !IsOrdinaryMean(mean, block_.spec.head_dim);
  }

  absl::Status ReadRows(KvSide side) {
    const uint32_t first = at_.tile * kTileTokens;
    return read_(side, at_.layer, at_.head, first, TileTokenCount(block_.spec, at_.tile), rows_.data());
  }

  absl::Status FinishSide(KvSide side, const TileReport& report, uint8_t* bytes, TileHead& head,
                          std::vector<uint8_t>& escapes) {
    const bool key = side == KvSide::kKey;
    const size_t index = key ? 0 : 1;
    uint64_t& escaped = key ? head.k_escapes : head.v_escapes;
    const bool again = (options_.escapes && (report.doubtful[index] != 0 || report.coarse[index] != 0)) ||
                       (key && IsLeftToReference());
    if (report.not_finite[index] == 0 && !again && escaped == 0) return absl::OkStatus();
    const uint32_t tokens = TileTokenCount(block_.spec, at_.tile);
    if (absl::Status s = ReadRows(side); !s.ok()) return s;
    if (report.not_finite[index] != 0) return NotFinite(side, report.not_finite[index]);
    if (again) {
      const ScaleRange range = EncodeAgain(side, tokens, bytes, escaped, head.k_mean);
      (key ? head.k_exponent : head.v_exponent) = range.base;
      (key ? head.k_shift : head.v_shift) = range.shift;
    }
    for (uint32_t t = 0; t < tokens; ++t) {
      if ((escaped >> t & 1) == 0) continue;
      const size_t end = escapes.size();
      escapes.resize(end + VectorRecordBytes(block_.spec.head_dim));
      WriteRecord(rows_.data() + size_t{t} * block_.spec.head_dim, block_.spec.head_dim, escapes.data() + end);
    }
    return absl::OkStatus();
  }

  // In the reference's words.
  absl::Status NotFinite(KvSide side, uint64_t tokens) const {
    const auto token = static_cast<uint32_t>(std::countr_zero(tokens));
    const float* row = rows_.data() + size_t{token} * block_.spec.head_dim;
    const auto at = static_cast<uint32_t>(
        std::find_if(row, row + block_.spec.head_dim - 1, [](float x) { return !std::isfinite(x); }) - row);
    return absl::InvalidArgumentError(absl::StrCat("tensor ", side == KvSide::kKey ? "k" : "v", " is not finite (",
                                                   row[at], ") at layer ", at_.layer, ", head ", at_.head, ", token ",
                                                   at_.tile * kTileTokens + token, ", coordinate ", at,
                                                   "; NaN and infinity cannot be encoded"));
  }

  // As codec/layer_encoder.h does it. `without_mean`: only of keys.
  ScaleRange EncodeAgain(KvSide side, uint32_t tokens, uint8_t* bytes, uint64_t& escaped, uint64_t& without_mean) {
    const bool key = side == KvSide::kKey;
    const LayerLayout& shape = block_.layout.layer(at_.layer);
    uint8_t* base = Tile(PlaneKind::kBase, bytes);
    uint8_t* scales = base + (key ? shape.base_tile.k_scales : shape.base_tile.v_scales);
    const TilePlanes<uint8_t> planes = {base + (key ? shape.base_tile.k_payload : shape.base_tile.v_payload),
                                        Tile(key ? PlaneKind::kKeyRefine1 : PlaneKind::kValueRefine1, bytes),
                                        Tile(key ? PlaneKind::kKeyRefine0 : PlaneKind::kValueRefine0, bytes), nullptr};
    SideEncoder& encoder = key ? keys_ : values_;
    uint64_t counted = Lowest(tokens) & ~escaped;
    const CodecPair& codec = block_.spec.codec;
    const size_t payload_bytes = PayloadBytes(TraitsOf(key ? codec.k : codec.v), block_.spec.head_dim);
    const float* coded = rows_.data();
    if (key && !means_.empty()) {
      const BlockSpec& spec = block_.spec;
      without_mean = TakeMeanOff(spec.rope, spec.phases, spec.head_dim, means_[at_.head].data(),
                                 spec.first_position + at_.tile * uint64_t{kTileTokens}, coded, tokens, counted,
                                 residual_.data());
      coded = residual_.data();
    }
    ScaleRange range = EncodeOnce(encoder, coded, tokens, counted, planes, payload_bytes, scales);
    const uint64_t misfits = options_.escapes ? encoder.Misfits(coded, tokens, counted, planes, scales, range) : 0;
    if (misfits != 0) {
      counted &= ~misfits;
      range = EncodeOnce(encoder, coded, tokens, counted, planes, payload_bytes, scales);
    }
    escaped = Lowest(tokens) & ~counted;
    if (key) without_mean &= counted;
    return range;
  }

  ScaleRange EncodeOnce(SideEncoder& encoder, const float* rows, uint32_t tokens, uint64_t counted,
                        const TilePlanes<uint8_t>& planes, size_t payload_bytes, uint8_t* scales) const {
    const size_t bit_bytes = size_t{8} * block_.spec.head_dim;
    std::memset(scales, 0, kTileTokens);
    std::memset(planes.payload, 0, payload_bytes);
    if (planes.refine1 != nullptr) std::memset(planes.refine1, 0, bit_bytes);
    if (planes.refine0 != nullptr) std::memset(planes.refine0, 0, bit_bytes);
    return encoder.Encode(rows, tokens, counted, planes, scales);
  }

  const ExpectedBlock& block_;
  const EncodeOptions& options_;
  const RowReader& read_;
  SideEncoder keys_, values_;
  std::vector<float> rows_, residual_;                 // of one tile's side; keys without their mean
  std::vector<std::array<float, kMaxHeadDim>> means_;  // by head; empty if the layer has none
  Cursor at_{};
};

// The layers' tiles from the places that `from` says to those of `to`, in new memory.
std::vector<uint8_t> MoveTiles(const ExpectedBlock& from, const BlockLayout& to, std::span<const uint8_t> bytes) {
  std::vector<uint8_t> out(to.total_bytes());
  for (uint32_t layer = 0; layer < to.layers(); ++layer) {
    for (uint32_t plane = 0; plane < to.planes(); ++plane) {
      const PlaneKind kind = to.plane_kind(plane);
      const uint64_t length = uint64_t{to.layer(layer).TileBytes(kind)} * to.tiles() * from.spec.kv_heads;
      const uint64_t source = from.layout.SegmentOffset(layer, kind) + from.layout.TileOffset(layer, kind, 0, 0);
      std::memcpy(out.data() + to.SegmentOffset(layer, kind) + to.TileOffset(layer, kind, 0, 0), bytes.data() + source,
                  length);
    }
  }
  return out;
}

// Before the tiles of a layer that has means of its own: their records, as the device wrote them, and zeros.
void PlaceRecords(const ExpectedBlock& from, const BlockLayout& to, uint32_t layer, std::span<const uint8_t> bytes,
                  uint8_t* block) {
  const uint32_t length = from.spec.kv_heads * VectorRecordBytes(from.spec.head_dim);
  uint8_t* const base = block + to.SegmentOffset(layer, PlaneKind::kBase);
  std::memcpy(base, bytes.data() + from.layout.SegmentOffset(layer, PlaneKind::kBase), length);
  std::fill(base + length, base + to.layer(layer).first_tile, uint8_t{0});
}

MeanSource MeanSourceOf(const BlockSpec& spec, const EncodeOptions& options) {
  if (options.key_mean == KeyMeanPolicy::kNever || !TraitsOf(spec.codec.k).has_scales) return MeanSource::kNone;
  if (options.profile == nullptr) {
    return options.key_mean == KeyMeanPolicy::kAuto ? MeanSource::kOwnWherePaying : MeanSource::kOwn;
  }
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    if (options.profile->HasMeans(spec, layer)) return MeanSource::kGiven;
  }
  return MeanSource::kNone;
}

}  // namespace

std::optional<EncodeCodec> EncodeCodecOf(const BlockSpec& spec) {
  const bool uniform =
      std::ranges::all_of(spec.layer_parts, [&](const LayerPart& part) { return part.codec == spec.codec; });
  const bool dim = spec.head_dim == 64 || spec.head_dim == 128 || spec.head_dim == 256;
  const std::optional<CodeKind> k = KindOf(spec.codec.k), v = KindOf(spec.codec.v);
  if (!uniform || !dim || !k.has_value() || !v.has_value()) return std::nullopt;
  return EncodeCodec{spec.head_dim, *k, *v, spec.rotation_seed};
}

absl::StatusOr<ExpectedBlock> ExpectBlock(const BlockSpec& spec, const EncodeOptions& options) {
  ExpectedBlock block{spec, {}, 0, MeanSource::kNone};
  block.spec.layer_parts.clear();
  if (absl::Status s = ValidateBlockSpec(block.spec); !s.ok()) return s;
  if (absl::Status s = SettleProfile(options, block.spec); !s.ok()) return s;
  if (absl::Status s = SettlePhases(block.spec); !s.ok()) return s;
  block.means = MeanSourceOf(block.spec, options);
  const uint64_t raw = options.raw_first_tokens - std::min<uint64_t>(options.raw_first_tokens, spec.first_position);
  block.raw_tokens = static_cast<uint32_t>(std::min<uint64_t>(raw, spec.tokens));
  const LayerPart part{spec.codec, AreOwn(block.means), 2 * block.raw_tokens * spec.kv_heads};
  block.spec.layer_parts.assign(spec.layers, part);
  for (uint32_t layer = 0; layer < spec.layers && block.means == MeanSource::kGiven; ++layer) {
    block.spec.layer_parts[layer].key_mean = options.profile->HasMeans(block.spec, layer);
  }
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(block.spec);
  if (!layout.ok()) return layout.status();
  block.layout = *std::move(layout);
  return block;
}

EncodeMeans EncodeMeansOf(const ExpectedBlock& block) {
  EncodeMeans means;
  means.source = block.means;
  means.pairs = static_cast<uint32_t>(block.spec.phases.size());
  means.interleaved = block.spec.rope.pairing == RopePairing::kInterleaved;
  return means;
}

std::vector<float> GivenMeans(const ExpectedBlock& block, const KeyMeanProfile& profile) {
  const BlockSpec& spec = block.spec;
  const uint32_t d = spec.head_dim;
  std::vector<float> rows(size_t{spec.layers} * spec.kv_heads * MeanRowFloats(d));
  float* row = rows.data();
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    const bool has_means = profile.HasMeans(spec, layer);
    for (uint32_t head = 0; head < spec.kv_heads; ++head, row += MeanRowFloats(d)) {
      const std::array<float, kMaxHeadDim> mean = ReadRecord(profile.Mean(layer, spec.first_kv_head + head));
      std::copy_n(mean.begin(), d, row);
      row[d] = IsOrdinaryMean(row, d) ? static_cast<float>(HalfSquare(row, d)) : std::numeric_limits<float>::infinity();
      row[d + 1] = has_means ? 1.0f : 0.0f;
    }
  }
  return rows;
}

EncodedPlace PlaceOf(const ExpectedBlock& block, uint8_t* bytes, TileReport* reports) {
  const BlockLayout& layout = block.layout;
  const auto plane = [&](PlaneKind kind) -> uint8_t* {
    if (layout.layer(0).TileBytes(kind) == 0) return nullptr;
    return bytes + layout.SegmentOffset(0, kind) + layout.TileOffset(0, kind, 0, 0);
  };
  EncodedPlace place;
  place.base = plane(PlaneKind::kBase);
  place.refine[0][0] = plane(PlaneKind::kKeyRefine1);
  place.refine[0][1] = plane(PlaneKind::kKeyRefine0);
  place.refine[1][0] = plane(PlaneKind::kValueRefine1);
  place.refine[1][1] = plane(PlaneKind::kValueRefine0);
  place.layer_bytes = layout.layer(0).bytes;
  place.reports = reports;
  place.tokens = block.spec.tokens;
  place.raw_tokens = block.raw_tokens;
  place.first_position = block.spec.first_position;
  place.records = AreOwn(block.means) ? bytes + layout.SegmentOffset(0, PlaneKind::kBase) : nullptr;
  return place;
}

absl::StatusOr<std::vector<uint8_t>> FinishBlock(const ExpectedBlock& expected, const EncodeOptions& options,
                                                 std::span<const uint8_t> bytes, std::span<const TileReport> reports,
                                                 const RowReader& rows) {
  std::vector<uint8_t> block(bytes.begin(), bytes.end());
  BlockSpec spec = expected.spec;
  LayerFinisher finisher(expected, options, rows);
  std::vector<std::vector<uint8_t>> escapes;
  bool as_expected = true;
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    absl::StatusOr<std::vector<uint8_t>> records = finisher.Finish(layer, reports, block.data());
    if (!records.ok()) return records.status();
    const auto count = static_cast<uint32_t>(records->size() / VectorRecordBytes(spec.head_dim));
    const LayerPart part{spec.codec, finisher.has_means(), count};
    as_expected = as_expected && part == spec.layer_parts[layer];
    spec.layer_parts[layer] = part;
    escapes.push_back(*std::move(records));
  }
  const absl::StatusOr<BlockLayout> layout = BlockLayout::Make(spec);
  if (!layout.ok()) return layout.status();
  if (!as_expected) block = MoveTiles(expected, *layout, block);
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    if (AreOwn(expected.means) && spec.layer_parts[layer].key_mean) {
      PlaceRecords(expected, *layout, layer, bytes, block.data());
    }
    uint8_t* base = block.data() + layout->SegmentOffset(layer, PlaneKind::kBase);
    uint8_t* end = std::ranges::copy(escapes[layer], base + layout->layer(layer).first_escape).out;
    std::fill(end, base + layout->SegmentBytes(layer, PlaneKind::kBase), uint8_t{0});
  }
  SealBlock(spec, *layout, block);
  return block;
}

}  // namespace polarkv::cuda
