#include "kernels/cuda/finished_block.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "codec/block_view.h"
#include "codec/key_mean.h"
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
        rows_(size_t{kTileTokens} * block.spec.head_dim) {}

  absl::StatusOr<std::vector<uint8_t>> Finish(uint32_t layer, std::span<const TileReport> reports, uint8_t* bytes) {
    const BlockSpec& spec = block_.spec;
    std::vector<uint8_t> escapes;
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
        at_ = {layer, head, tile};
        uint8_t* base = Tile(PlaneKind::kBase, bytes);
        TileHead tile_head;
        std::memcpy(&tile_head, base, sizeof tile_head);
        tile_head.first_escape = static_cast<uint32_t>(escapes.size() / VectorRecordBytes(spec.head_dim));
        const TileReport& report = reports[(size_t{layer} * spec.kv_heads + head) * spec.tiles() + tile];
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

  absl::Status FinishSide(KvSide side, const TileReport& report, uint8_t* bytes, TileHead& head,
                          std::vector<uint8_t>& escapes) {
    const bool key = side == KvSide::kKey;
    const size_t index = key ? 0 : 1;
    uint64_t& escaped = key ? head.k_escapes : head.v_escapes;
    const bool again = options_.escapes && (report.doubtful[index] != 0 || report.coarse[index] != 0);
    if (report.not_finite[index] == 0 && !again && escaped == 0) return absl::OkStatus();
    const uint32_t tokens = TileTokenCount(block_.spec, at_.tile);
    absl::Status s = read_(side, at_.layer, at_.head, at_.tile * kTileTokens, tokens, rows_.data());
    if (!s.ok()) return s;
    if (report.not_finite[index] != 0) return NotFinite(side, report.not_finite[index]);
    if (again) {
      const ScaleRange range = EncodeAgain(side, tokens, bytes, escaped);
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

  // As codec/layer_encoder.h does it.
  ScaleRange EncodeAgain(KvSide side, uint32_t tokens, uint8_t* bytes, uint64_t& escaped) {
    const bool key = side == KvSide::kKey;
    const LayerLayout& shape = block_.layout.layer(at_.layer);
    uint8_t* base = Tile(PlaneKind::kBase, bytes);
    uint8_t* scales = base + (key ? shape.base_tile.k_scales : shape.base_tile.v_scales);
    const TilePlanes<uint8_t> planes = {base + (key ? shape.base_tile.k_payload : shape.base_tile.v_payload),
                                        Tile(key ? PlaneKind::kKeyRefine1 : PlaneKind::kValueRefine1, bytes),
                                        Tile(key ? PlaneKind::kKeyRefine0 : PlaneKind::kValueRefine0, bytes), nullptr};
    SideEncoder& encoder = key ? keys_ : values_;
    uint64_t counted = Lowest(tokens) & ~escaped;
    const size_t payload_bytes = PayloadBytes(TraitsOf(key ? block_.spec.codec.k : block_.spec.codec.v), block_.spec.head_dim);
    ScaleRange range = EncodeOnce(encoder, tokens, counted, planes, payload_bytes, scales);
    const uint64_t misfits = encoder.Misfits(rows_.data(), tokens, counted, planes, scales, range);
    if (misfits != 0) {
      counted &= ~misfits;
      range = EncodeOnce(encoder, tokens, counted, planes, payload_bytes, scales);
    }
    escaped = Lowest(tokens) & ~counted;
    return range;
  }

  ScaleRange EncodeOnce(SideEncoder& encoder, uint32_t tokens, uint64_t counted, const TilePlanes<uint8_t>& planes,
                        size_t payload_bytes, uint8_t* scales) const {
    const size_t bit_bytes = size_t{8} * block_.spec.head_dim;
    std::memset(scales, 0, kTileTokens);
    std::memset(planes.payload, 0, payload_bytes);
    if (planes.refine1 != nullptr) std::memset(planes.refine1, 0, bit_bytes);
    if (planes.refine0 != nullptr) std::memset(planes.refine0, 0, bit_bytes);
    return encoder.Encode(rows_.data(), tokens, counted, planes, scales);
  }

  const ExpectedBlock& block_;
  const EncodeOptions& options_;
  const RowReader& read_;
  SideEncoder keys_, values_;
  std::vector<float> rows_;
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
  ExpectedBlock block{spec, {}, 0};
  const uint64_t raw = options.raw_first_tokens - std::min<uint64_t>(options.raw_first_tokens, spec.first_position);
  block.raw_tokens = static_cast<uint32_t>(std::min<uint64_t>(raw, spec.tokens));
  block.spec.layer_parts.assign(spec.layers, LayerPart{spec.codec, false, 2 * block.raw_tokens * spec.kv_heads});
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(block.spec);
  if (!layout.ok()) return layout.status();
  block.layout = *std::move(layout);
  return block;
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
  return place;
}

absl::StatusOr<std::vector<uint8_t>> FinishBlock(const ExpectedBlock& expected, const EncodeOptions& options,
                                                 std::span<const uint8_t> bytes, std::span<const TileReport> reports,
                                                 const RowReader& rows) {
  if (options.key_mean != KeyMeanPolicy::kNever) {
    return absl::FailedPreconditionError(
        "the device encodes keys as they are; encode layers whose key means may pay by the reference");
  }
  std::vector<uint8_t> block(bytes.begin(), bytes.end());
  BlockSpec spec = expected.spec;
  LayerFinisher finisher(expected, options, rows);
  std::vector<std::vector<uint8_t>> escapes;
  bool as_expected = true;
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    absl::StatusOr<std::vector<uint8_t>> records = finisher.Finish(layer, reports, block.data());
    if (!records.ok()) return records.status();
    const auto count = static_cast<uint32_t>(records->size() / VectorRecordBytes(spec.head_dim));
    as_expected = as_expected && count == spec.layer_parts[layer].escapes;
    spec.layer_parts[layer].escapes = count;
    escapes.push_back(*std::move(records));
  }
  const absl::StatusOr<BlockLayout> layout = BlockLayout::Make(spec);
  if (!layout.ok()) return layout.status();
  if (!as_expected) block = MoveTiles(expected, *layout, block);
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    uint8_t* base = block.data() + layout->SegmentOffset(layer, PlaneKind::kBase);
    uint8_t* end = std::ranges::copy(escapes[layer], base + layout->layer(layer).first_escape).out;
    std::fill(end, base + layout->SegmentBytes(layer, PlaneKind::kBase), uint8_t{0});
  }
  SealBlock(spec, *layout, block);
  return block;
}

}  // namespace polarkv::cuda
