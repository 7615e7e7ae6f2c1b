#include "kernels/cpu/cpu_encode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "codec/block_view.h"
#include "codec/half_float.h"
#include "codec/kv_side.h"
#include "codec/reference_codec.h"
#include "codec/rotation.h"
#include "codec/tensor_rows.h"
#include "codec/turbo_codebook.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/cpu/turbo_encode.h"

namespace polarkv::cpu {
namespace {

bool HasFastBody(const BlockSpec& spec, const TensorView& k, const TensorView& v, InstructionSet set) {
  return set == InstructionSet::kAvx512 && IsTurbo(spec.codec.k) && IsTurbo(spec.codec.v) && spec.head_dim % 64 == 0 &&
         k.stride[3] == 1 && v.stride[3] == 1;
}

int StoreScales(const TurboEncodedTile& tile, uint32_t tokens, uint8_t* scales) {
  bool any = false;
  int top = 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    if (!(tile.mantissa[t] > 0)) continue;
    const int binade = std::ilogb(tile.mantissa[t]) + tile.exponent[t];
    top = any ? std::max(top, binade) : binade;
    any = true;
  }
  std::memset(scales, 0, 128);
  if (!any) return 0;
  const int tile_exponent = top - 14;
  for (uint32_t t = 0; t < tokens; ++t) {
    const uint16_t half = FloatToHalf(std::ldexp(tile.mantissa[t], tile.exponent[t] - tile_exponent));
    std::memcpy(scales + 2 * t, &half, 2);
  }
  return tile_exponent;
}

// One side of a block, tile by tile.
class SideEncoder {
 public:
  SideEncoder(const BlockSpec& spec, KvSide side, const TensorView& tensor)
      : tensor_(tensor), side_(side) {
    const std::array<float, kMaxHeadDim> signs = RotationSigns(spec.rotation_seed);
    for (uint32_t j = 0; j < kMaxHeadDim; ++j) {
      sign_bits32_[j] = signs[j] < 0 ? 0x80000000u : 0;
      sign_bits16_[j] = signs[j] < 0 ? 0x8000u : 0;
    }
    shape_.bits = TurboBits(side == KvSide::kKey ? spec.codec.k : spec.codec.v);
    shape_.head_dim = spec.head_dim;
    shape_.keys = side == KvSide::kKey;
    shape_.dtype = static_cast<uint32_t>(tensor.dtype);
    shape_.sign_bits16 = sign_bits16_.data();
    shape_.sign_bits32 = sign_bits32_.data();
    shape_.root_dim = std::sqrt(static_cast<float>(spec.head_dim));
    shape_.rotation_scale = RotationScale(spec.head_dim);
  }

  bool Encode(uint32_t layer, uint32_t head, uint32_t first, uint32_t tokens, uint8_t* scales, TurboEncodedTile& tile,
              int16_t* exponent) const {
    const int64_t bytes = tensor_.dtype == Dtype::kF32 ? 4 : 2;
    const TurboEncodeRows rows = {
        static_cast<const uint8_t*>(tensor_.data) +
            bytes * (layer * tensor_.stride[0] + head * tensor_.stride[1] + first * tensor_.stride[2]),
        bytes * tensor_.stride[2], tokens};
    if (!TurboEncodeAvx512(shape_, rows, tile)) return false;
    *exponent = static_cast<int16_t>(StoreScales(tile, tokens, scales));
    return true;
  }

  // Why Encode refused these tokens.
  absl::Status Refusal(uint32_t layer, uint32_t head, uint32_t first, uint32_t tokens) const {
    std::vector<float> rows(size_t{tokens} * shape_.head_dim);
    return ReadFiniteRows(tensor_, side_ == KvSide::kKey ? "k" : "v", layer, head, first, tokens, rows.data());
  }

 private:
  const TensorView& tensor_;
  KvSide side_;
  alignas(64) std::array<uint16_t, kMaxHeadDim> sign_bits16_;
  alignas(64) std::array<uint32_t, kMaxHeadDim> sign_bits32_;
  TurboEncoderShape shape_;
};

absl::Status EncodeTurbo(const BlockSpec& spec, const BlockLayout& layout, const TensorView& k, const TensorView& v,
                         uint8_t* bytes) {
  const SideEncoder keys(spec, KvSide::kKey, k), values(spec, KvSide::kValue, v);
  const BaseTileLayout& at = layout.base_tile();
  TurboEncodedTile tile_codes;
  for (uint32_t layer = 0; layer < spec.layers; ++layer) {
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
        const auto place = [&](PlaneKind kind) -> uint8_t* {
          const int plane = layout.PlaneIndex(kind);
          return plane < 0 ? nullptr : bytes + layout.SegmentOffset(layer, plane) + layout.TileOffset(plane, head, tile);
        };
        const uint32_t first = tile * kTileTokens;
        const uint32_t tokens = std::min(kTileTokens, spec.tokens - first);
        uint8_t* base = place(PlaneKind::kBase);
        TileHead tile_head{};
        tile_head.tokens = static_cast<uint16_t>(tokens);
        tile_codes.crumbs = base + at.k_payload;
        tile_codes.refine1 = place(PlaneKind::kKeyRefine1);
        tile_codes.refine0 = place(PlaneKind::kKeyRefine0);
        if (!keys.Encode(layer, head, first, tokens, base + at.k_scales, tile_codes, &tile_head.k_exponent)) {
          return keys.Refusal(layer, head, first, tokens);
        }
        tile_codes.crumbs = base + at.v_payload;
        tile_codes.refine1 = place(PlaneKind::kValueRefine1);
        tile_codes.refine0 = place(PlaneKind::kValueRefine0);
        if (!values.Encode(layer, head, first, tokens, base + at.v_scales, tile_codes, &tile_head.v_exponent)) {
          return values.Refusal(layer, head, first, tokens);
        }
        std::memcpy(base, &tile_head, sizeof tile_head);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v, InstructionSet set,
                         std::vector<uint8_t>& bytes) {
  const FloatEnvironment environment;
  absl::StatusOr<BlockLayout> layout = BlockLayout::Make(spec);
  if (!layout.ok()) return layout.status();
  const std::array<int64_t, 4> shape = {spec.layers, spec.kv_heads, spec.tokens, spec.head_dim};
  if (absl::Status s = CheckTensor(k, "k", shape); !s.ok()) return s;
  if (absl::Status s = CheckTensor(v, "v", shape); !s.ok()) return s;
  if (!HasFastBody(spec, k, v, set)) {
    absl::StatusOr<std::vector<uint8_t>> block = reference::EncodeBlock(spec, k, v);
    if (!block.ok()) return block.status();
    bytes = std::move(*block);
    return absl::OkStatus();
  }
  bytes.resize(layout->total_bytes());
  if (absl::Status s = EncodeTurbo(spec, *layout, k, v, bytes.data()); !s.ok()) return s;
  SealBlock(spec, *layout, bytes);
  return absl::OkStatus();
}

}  // namespace polarkv::cpu
