#include <array>
#include <cstring>
#include <optional>

#include "codec/half_tile.h"
#include "codec/polar_tile.h"
#include "codec/reference_codec.h"
#include "codec/tensor_rows.h"
#include "codec/turbo_tile.h"

namespace polarkv::reference {
namespace {

// Where one side of one tile goes.
struct TilePlace {
  uint8_t* scales;
  CodePlanes<uint8_t> planes;  // crumbs: the side's payload in the base plane, whatever the codec
};

class SideEncoder {
 public:
  SideEncoder(const BlockSpec& spec, KvSide side)
      : spec_(spec), codec_(side == KvSide::kKey ? spec.codec.k : spec.codec.v) {
    if (IsTurbo(codec_)) turbo_.emplace(codec_, side, spec.head_dim, spec.rotation_seed);
  }

  int Encode(const float* rows, uint32_t tokens, const TilePlace& place) const {
    if (turbo_) return turbo_->Encode(rows, tokens, place.planes, place.scales);
    if (codec_ == CodecId::kPolar44)
      return EncodePolarTile(rows, tokens, spec_.head_dim, spec_.rope, place.planes.crumbs);
    return EncodeHalfTile(rows, tokens, spec_.head_dim, place.planes.crumbs);
  }

 private:
  const BlockSpec& spec_;
  CodecId codec_;
  std::optional<TurboTileEncoder> turbo_;
};

class BlockEncoder {
 public:
  BlockEncoder(const BlockSpec& spec, const BlockLayout& layout, uint8_t* bytes)
      : spec_(spec), layout_(layout), bytes_(bytes), keys_(spec, KvSide::kKey), values_(spec, KvSide::kValue) {}

  absl::Status EncodeTile(uint32_t layer, uint32_t head, uint32_t tile, const TensorView& k, const TensorView& v) {
    const uint32_t first = tile * kTileTokens;
    const uint32_t tokens = std::min(kTileTokens, spec_.tokens - first);
    uint8_t* base = Tile(layer, PlaneKind::kBase, head, tile);
    const BaseTileLayout& at = layout_.layer(layer).base_tile;
    TileHead tile_head{};
    tile_head.tokens = static_cast<uint16_t>(tokens);

    if (absl::Status s = ReadFiniteRows(k, "k", layer, head, first, tokens, rows_.data()); !s.ok()) return s;
    tile_head.k_exponent =
        static_cast<int16_t>(keys_.Encode(rows_.data(), tokens,
                                          {base + at.k_scales,
                                           {base + at.k_payload, Tile(layer, PlaneKind::kKeyRefine1, head, tile),
                                            Tile(layer, PlaneKind::kKeyRefine0, head, tile)}}));
    if (absl::Status s = ReadFiniteRows(v, "v", layer, head, first, tokens, rows_.data()); !s.ok()) return s;
    tile_head.v_exponent =
        static_cast<int16_t>(values_.Encode(rows_.data(), tokens,
                                            {base + at.v_scales,
                                             {base + at.v_payload, Tile(layer, PlaneKind::kValueRefine1, head, tile),
                                              Tile(layer, PlaneKind::kValueRefine0, head, tile)}}));
    std::memcpy(base, &tile_head, sizeof tile_head);
    return absl::OkStatus();
  }

 private:
  uint8_t* Tile(uint32_t layer, PlaneKind kind, uint32_t head, uint32_t tile) const {
    if (layout_.SegmentBytes(layer, kind) == 0) return nullptr;
    return bytes_ + layout_.SegmentOffset(layer, kind) + layout_.TileOffset(layer, kind, head, tile);
  }

  const BlockSpec& spec_;
  const BlockLayout& layout_;
  uint8_t* bytes_;
  SideEncoder keys_, values_;
  std::array<float, kTileTokens * kMaxHeadDim> rows_;
};

}  // namespace

absl::StatusOr<std::vector<uint8_t>> EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v) {
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(spec);
  if (!layout.ok()) return layout.status();
  if (absl::Status s = CheckReferences(spec, 0, spec.layers); !s.ok()) return s;
  const std::array<int64_t, 4> shape = {spec.layers, spec.kv_heads, spec.tokens, spec.head_dim};
  if (absl::Status s = CheckTensor(k, "k", shape); !s.ok()) return s;
  if (absl::Status s = CheckTensor(v, "v", shape); !s.ok()) return s;

  std::vector<uint8_t> bytes(layout->total_bytes());
  BlockEncoder encoder(spec, *layout, bytes.data());
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
        if (absl::Status s = encoder.EncodeTile(layer, head, tile, k, v); !s.ok()) return s;
      }
    }
  }
  SealBlock(spec, *layout, bytes);
  return bytes;
}

}  // namespace polarkv::reference
