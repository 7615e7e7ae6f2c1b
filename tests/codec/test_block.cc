#include "tests/codec/test_block.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "codec/band_table.h"
#include "codec/outlier_channels.h"

namespace polarkv::testing {
namespace {

uint64_t FirstTokens(uint32_t tokens) { return tokens == 64 ? ~uint64_t{0} : (uint64_t{1} << tokens) - 1; }

template <typename Act>
void ForEachToken(uint64_t mask, Act act) {
  for (; mask != 0; mask &= mask - 1) act(static_cast<uint32_t>(std::countr_zero(mask)));
}

class BlockMaker {
 public:
  explicit BlockMaker(const BlockSpec& spec)
      : spec_(spec), layout_(BlockLayout::Make(spec).value()), bytes_(layout_.total_bytes()) {}

  std::vector<uint8_t> Make() {
    uint32_t state = 12345;
    for (uint64_t i = layout_.payload_offset(); i < bytes_.size(); ++i) {
      state = state * 1664525 + 1013904223;
      bytes_[i] = static_cast<uint8_t>(state >> 24) & 0x2F;
    }
    for (uint32_t layer = 0; layer < spec_.layers; ++layer) {
      FillRecords(layer);
      uint32_t escapes = 0;
      for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
        for (uint32_t tile = 0; tile < spec_.tiles(); ++tile) escapes += FillTile(layer, head, tile, escapes);
      }
    }
    SealBlock(spec_, layout_, bytes_);
    return std::move(bytes_);
  }

 private:
  uint8_t* Tile(uint32_t layer, PlaneKind kind, uint32_t head, uint32_t tile) {
    return bytes_.data() + layout_.SegmentOffset(layer, kind) + layout_.TileOffset(layer, kind, head, tile);
  }

  void FillArea(uint8_t* area, uint32_t records, uint64_t area_bytes) {
    const uint32_t bytes = VectorRecordBytes(spec_.head_dim);
    const VectorRecordHead head = {1, {}};
    for (uint32_t i = 0; i < records; ++i) std::memcpy(area + size_t{i} * bytes, &head, sizeof head);
    std::fill(area + size_t{records} * bytes, area + area_bytes, uint8_t{0});
  }

  // Pairs backwards, bits one by one to every band in turn.
  void FillBands(const LayerLayout& shape, uint8_t* segment) {
    const uint32_t pairs = spec_.head_dim / 2, bands = BandCount(spec_.head_dim);
    std::fill(segment + shape.first_band, segment + shape.first_tile, uint8_t{0});
    for (uint32_t head = 0; head < spec_.kv_heads; ++head) {
      BandTable table;
      for (uint32_t i = 0; i < pairs; ++i) table.pair[i] = static_cast<uint8_t>(pairs - 1 - i);
      for (uint32_t i = 0; i < BandBudget(shape.codec.k, spec_.head_dim); ++i) ++table.bits[i % bands];
      table.deviation.fill(32);
      WriteBandTable(table, spec_.head_dim, segment + shape.first_band + head * BandTableBytes(spec_.head_dim));
    }
  }

  void FillRecords(uint32_t layer) {
    const LayerLayout& shape = layout_.layer(layer);
    uint8_t* segment = bytes_.data() + layout_.SegmentOffset(layer, PlaneKind::kBase);
    if (shape.first_band != 0) FillArea(segment, spec_.kv_heads, shape.first_band);
    if (IsBanded(shape.codec.k)) FillBands(shape, segment);
    FillArea(segment + shape.first_escape, shape.escapes, shape.segment_bytes[0] - shape.first_escape);
  }

  // Returns the tile's number of escapes.
  uint32_t FillTile(uint32_t layer, uint32_t head, uint32_t tile, uint32_t first_escape) {
    const LayerLayout& shape = layout_.layer(layer);
    const bool k_scales = TraitsOf(shape.codec.k).has_scales, v_scales = TraitsOf(shape.codec.v).has_scales;
    uint8_t* base = Tile(layer, PlaneKind::kBase, head, tile);
    const uint32_t left = shape.escapes - first_escape;
    TileHead tile_head{};
    tile_head.k_exponent = -3;
    tile_head.v_exponent = 2;
    tile_head.tokens = static_cast<uint16_t>(std::min(kTileTokens, spec_.tokens - tile * kTileTokens));
    tile_head.k_shift = k_scales ? 1 : 0;
    tile_head.v_shift = v_scales ? 2 : 0;
    if (k_scales && left >= 1) tile_head.k_escapes |= 1;
    if (k_scales && left >= 2) tile_head.k_escapes |= uint64_t{1} << (tile_head.tokens - 1);
    if (v_scales && left >= 3) tile_head.v_escapes |= 1;
    tile_head.first_escape = first_escape;
    const uint64_t valid = FirstTokens(tile_head.tokens);
    if (shape.key_mean) tile_head.k_mean = 0xAAAAAAAAAAAAAAAA & valid & ~tile_head.k_escapes;
    std::memcpy(base, &tile_head, sizeof tile_head);
    if (HasOutlierChannels(shape.codec.k)) FillOutliers(base + shape.base_tile.k_payload, valid & ~tile_head.k_escapes);
    FillPayloadEnd(shape.codec.k, base + shape.base_tile.k_payload);
    FillPayloadEnd(shape.codec.v, base + shape.base_tile.v_payload);
    if (k_scales) FillScales(base + shape.base_tile.k_scales, valid & ~tile_head.k_escapes);
    if (v_scales) FillScales(base + shape.base_tile.v_scales, valid & ~tile_head.v_escapes);
    if ((shape.planes & PlaneBit(PlaneKind::kKeyResidual)) != 0) {
      uint8_t* norms = Tile(layer, PlaneKind::kKeyResidual, head, tile);
      ForEachToken(~valid | tile_head.k_escapes, [&](uint32_t token) { std::memset(norms + 2 * token, 0, 2); });
    }
    return static_cast<uint32_t>(std::popcount(tile_head.k_escapes) + std::popcount(tile_head.v_escapes));
  }

  static void FillOutliers(uint8_t* payload, uint64_t present) {
    OutlierHead head{};
    for (uint32_t group = 0; group < kOutlierGroups; ++group) {
      for (uint32_t i = 0; i < kOutlierChannels; ++i) head.channel[group][i] = static_cast<uint8_t>(7 * i + group);
    }
    head.base = 5;
    head.shift = 1;
    std::memcpy(payload, &head, sizeof head);
    FillScales(payload + sizeof head, present);
  }

  void FillPayloadEnd(CodecId codec, uint8_t* payload) const {
    const uint32_t codes = CodeBytes(TraitsOf(codec), spec_.head_dim);
    std::memset(payload + codes, 0, PayloadBytes(TraitsOf(codec), spec_.head_dim) - codes);
  }

  // Not zero where there is one, so that a test may count on it.
  static void FillScales(uint8_t* scales, uint64_t present) {
    ForEachToken(present, [&](uint32_t token) { scales[token] |= 1; });
    ForEachToken(~present, [&](uint32_t token) { scales[token] = 0; });
  }

  const BlockSpec& spec_;
  BlockLayout layout_;
  std::vector<uint8_t> bytes_;
};

}  // namespace

BlockSpec LayeredSpec() {
  using enum CodecId;
  BlockSpec spec = SmallSpec({kTurbo4, kTurbo3});
  spec.layers = 5;
  spec.layer_parts = {{spec.codec, false, 0},
                      {spec.codec, true, 7},
                      {{kFp16, kPolar44}, false, 0},
                      {{kTurbo2, kFp16}, true, 4},
                      {{kTurbo3Qjl, kTurbo2}, false, 12}};
  for (uint64_t pair = 0; pair < 32; ++pair) spec.phases.push_back(pair * 0x0123456789ABCDEF);
  return spec;
}

std::vector<uint8_t> MakeBlock(const BlockSpec& spec) { return BlockMaker(spec).Make(); }

}  // namespace polarkv::testing
