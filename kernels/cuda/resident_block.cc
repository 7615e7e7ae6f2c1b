#include "kernels/cuda/resident_block.h"

#include <algorithm>

#include "codec/key_mean_profile.h"
#include "codec/trellis_code.h"
#include "codec/turbo_codebook.h"

namespace polarkv::cuda {
namespace {

struct SideCodes {
  CodeKind kind;
  std::array<int8_t, 16> image;
};

std::optional<SideCodes> CodesOf(CodecId id, PlaneMask planes, PlaneKind first, PlaneKind second) {
  SideCodes codes{};
  if (IsTrellis(id)) {
    codes.kind = id == CodecId::kTrellis1 ? kTrellis1 : id == CodecId::kTrellis2 ? kTrellis2 : kTrellis3;
    codes.image = TrellisCodebookFor(TrellisBits(id)).image;
    return codes;
  }
  if (id == CodecId::kQjl1 || id == CodecId::kQjl2 || id == CodecId::kQjl4) {
    codes.kind = id == CodecId::kQjl1 ? kSigns1 : id == CodecId::kQjl2 ? kSigns2 : kSigns4;
    return codes;
  }
  if (id == CodecId::kPolar44) {
    codes.kind = kPolar44;
    return codes;
  }
  if (id != CodecId::kTurbo2 && id != CodecId::kTurbo3 && id != CodecId::kTurbo4) return std::nullopt;
  uint32_t bits = 2;
  if (id != CodecId::kTurbo2 && (planes & PlaneBit(first)) != 0) bits = 3;
  if (id == CodecId::kTurbo4 && bits == 3 && (planes & PlaneBit(second)) != 0) bits = 4;
  codes.kind = static_cast<CodeKind>(bits);
  std::copy_n(TurboCodebookFor(id, bits).image.begin(), codes.image.size(), codes.image.begin());
  return codes;
}

KeyMeanTurns TurnsOf(const BlockView& block) {
  KeyMeanTurns turns;
  turns.any = true;
  turns.interleaved = block.spec().rope.pairing == RopePairing::kInterleaved;
  turns.rope_dims = block.spec().rope.dims;
  std::ranges::copy(block.phases(), turns.phases);
  return turns;
}

}  // namespace

std::optional<AttentionCodec> AttentionCodecOf(const BlockView& block, uint32_t layer) {
  const LayerLayout& shape = block.layout().layer(layer);
  const auto key = CodesOf(shape.codec.k, block.planes(), PlaneKind::kKeyRefine1, PlaneKind::kKeyRefine0);
  const auto value = CodesOf(shape.codec.v, block.planes(), PlaneKind::kValueRefine1, PlaneKind::kValueRefine0);
  if (!key.has_value() || !value.has_value() || !block.CheckMeans(layer).ok()) return std::nullopt;
  AttentionCodec codec;
  codec.head_dim = block.spec().head_dim;
  codec.key_kind = key->kind;
  codec.value_kind = value->kind;
  std::ranges::copy(key->image, codec.key_image);
  std::ranges::copy(value->image, codec.value_image);
  codec.rotation_seed = block.spec().rotation_seed;
  if (codec.key_kind == kPolar44 && block.spec().rope.pairing != RopePairing::kNone) {
    codec.pair_dims = block.spec().rope.dims;
    codec.pairs_interleaved = block.spec().rope.pairing == RopePairing::kInterleaved;
  }
  codec.base_tile_bytes = shape.base_tile.bytes;
  codec.refine_tile_bytes = kTileTokens * codec.head_dim / 8;
  if (shape.key_mean) codec.means = TurnsOf(block);
  return codec;
}

bool JoinKeyMeans(const AttentionCodec& block, AttentionCodec& launch) {
  if (!block.means.any) return true;
  if (!launch.means.any) launch.means = block.means;
  return launch.means == block.means;
}

std::optional<PageLayer> PageLayerOf(const BlockView& block, uint32_t layer, const uint8_t* bytes, const uint8_t* profile) {
  const auto resident = [&](std::span<const uint8_t> host) {
    return host.empty() ? nullptr : bytes + (host.data() - block.bytes().data());
  };
  const auto plane = [&](PlaneKind kind) { return resident(block.Tile(layer, kind, 0, 0)); };
  PageLayer page;
  page.base = plane(PlaneKind::kBase);
  page.refine[0][0] = plane(PlaneKind::kKeyRefine1);
  page.refine[0][1] = plane(PlaneKind::kKeyRefine0);
  page.refine[1][0] = plane(PlaneKind::kValueRefine1);
  page.refine[1][1] = plane(PlaneKind::kValueRefine0);
  page.escapes = resident(block.Segment(layer, PlaneKind::kBase)) + block.layout().layer(layer).first_escape;
  page.tiles = block.spec().tiles();
  page.tokens = block.spec().tokens;
  page.escape_records = block.layout().layer(layer).escapes;
  page.first_position = block.spec().first_position;
  if (!block.layout().layer(layer).key_mean) return page;
  const VectorRecord mean = block.KeyMean(layer, 0);
  const bool of_profile = block.spec().HasProfile();
  if (mean.halves.empty() || (of_profile && profile == nullptr)) return std::nullopt;
  const auto* const record = reinterpret_cast<const uint8_t*>(mean.halves.data()) - sizeof(VectorRecordHead);
  page.means = of_profile ? profile + (record - block.profile()->bytes().data()) : bytes + (record - block.bytes().data());
  return page;
}

}  // namespace polarkv::cuda
