#include "kernels/cpu/cpu_decode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "codec/half_float.h"
#include "codec/kv_side.h"
#include "codec/reference_codec.h"
#include "codec/rotation.h"
#include "codec/tile_matrix.h"
#include "codec/turbo_codebook.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/cpu/turbo_decode.h"

namespace polarkv::cpu {
namespace {

uint32_t ElementBytes(Dtype dtype) { return dtype == Dtype::kF32 ? 4 : 2; }

uint16_t ToBFloat16(float x) {
  constexpr float kLargest = 0x1.fep127f;
  const uint32_t bits = std::bit_cast<uint32_t>(std::clamp(x, -kLargest, kLargest));
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

void StoreFloats(const float* x, size_t count, Dtype dtype, uint8_t* out) {
  if (dtype == Dtype::kF32) {
    std::memcpy(out, x, 4 * count);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const uint16_t bits =
        dtype == Dtype::kF16 ? FloatToHalf(std::clamp(x[i], -kMaxHalf, kMaxHalf)) : ToBFloat16(x[i]);
    std::memcpy(out + 2 * i, &bits, 2);
  }
}

// What both ways of decoding a side walk over: tiles in order of their tokens' place in the output.
template <typename DecodeTile>
void ForEachTile(const BlockView& block, DecodeTile decode) {
  const BlockSpec& spec = block.spec();
  size_t token = 0;
  for (uint32_t layer = block.layer_begin(); layer < block.layer_end(); ++layer) {
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      for (uint32_t tile = 0; tile < spec.tiles(); ++tile) {
        decode(layer, head, tile, token);
        token += TileTokenCount(spec, tile);
      }
    }
  }
}

void DecodeFast(const BlockView& block, KvSide side, Dtype dtype, bool rotated, uint8_t* out) {
  const BlockSpec& spec = block.spec();
  const std::array<float, kMaxHeadDim> signs = RotationSigns(spec.rotation_seed);
  TurboDecoderShape shape;
  shape.head_dim = spec.head_dim;
  shape.keys = side == KvSide::kKey;
  shape.rotated = rotated;
  shape.dtype = static_cast<uint32_t>(dtype);
  for (uint32_t j = 0; j < spec.head_dim; ++j) shape.negative[j / 32] |= uint32_t{signs[j] < 0} << j % 32;
  const double constant = rotated ? 1.0 : RotationScale(spec.head_dim);
  TurboDecodeTile to;
  ForEachTile(block, [&](uint32_t layer, uint32_t head, uint32_t tile, size_t token) {
    const TilePart part = FindTilePart(block, side, layer, head, tile);
    const uint32_t bits = std::min(part.bits, TurboBits(part.codec));
    if (shape.bits != bits) {
      shape.bits = bits;
      shape.table = MakeTurboTable(TurboCodebookFor(part.codec, bits), 0);
    }
    to.crumbs = part.planes.crumbs;
    to.refine1 = part.planes.refine1;
    to.refine0 = part.planes.refine0;
    to.tokens = TileTokenCount(spec, tile);
    const double unit = constant * std::ldexp(1.0, part.exponent);
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      uint16_t half;
      std::memcpy(&half, part.scales + 2 * t, 2);
      to.factor[t] = HalfToFloat(half) * unit;
    }
    to.rows = out + token * spec.head_dim * ElementBytes(dtype);
#if defined(__x86_64__)
    TurboDecodeAvx512(shape, to);
#endif
  });
}

// One side in the rotated domain, from the reference's reading of tiles.
void DecodeRotated(const BlockView& block, KvSide side, Dtype dtype, uint8_t* out) {
  const BlockSpec& spec = block.spec();
  const uint32_t d = spec.head_dim;
  const TileMatrixReader reader(side, d);
  const auto matrix = std::make_unique<TileMatrix>();
  std::vector<float> row(d);
  ForEachTile(block, [&](uint32_t layer, uint32_t head, uint32_t tile, size_t token) {
    reader.Read(FindTilePart(block, side, layer, head, tile), spec.rope, *matrix);
    for (uint32_t t = 0; t < TileTokenCount(spec, tile); ++t) {
      for (uint32_t j = 0; j < d; ++j) {
        const float image = matrix->value[side == KvSide::kKey ? j * kTileTokens + t : t * d + j];
        constexpr double kLimit = std::numeric_limits<float>::max();
        row[j] = static_cast<float>(std::clamp(matrix->factor[t] * image, -kLimit, kLimit));
      }
      StoreFloats(row.data(), d, dtype, out + (token + t) * d * ElementBytes(dtype));
    }
  });
}

absl::Status DecodeByReference(const BlockView& block, Dtype dtype, bool rotated, std::span<uint8_t> k,
                               std::span<uint8_t> v) {
  const size_t count = k.size() / ElementBytes(dtype);
  std::vector<float> keys(count), values(count);
  if (absl::Status s = reference::DecodeBlock(block, keys, values); !s.ok()) return s;
  StoreFloats(keys.data(), count, dtype, k.data());
  StoreFloats(values.data(), count, dtype, v.data());
  if (rotated && CodecRotates(block.spec().codec.k)) DecodeRotated(block, KvSide::kKey, dtype, k.data());
  if (rotated && CodecRotates(block.spec().codec.v)) DecodeRotated(block, KvSide::kValue, dtype, v.data());
  return absl::OkStatus();
}

}  // namespace

absl::Status DecodeBlock(const BlockView& block, Dtype dtype, bool rotated, std::span<uint8_t> k, std::span<uint8_t> v,
                         InstructionSet set) {
  const FloatEnvironment environment;
  const BlockSpec& spec = block.spec();
  if (dtype != Dtype::kF16 && dtype != Dtype::kBF16 && dtype != Dtype::kF32) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot decode to dtype ", static_cast<int>(dtype), "; F16, BF16 and F32 can be written"));
  }
  const uint32_t layers = block.layer_end() - block.layer_begin();
  const size_t size = size_t{layers} * spec.kv_heads * spec.tokens * spec.head_dim * ElementBytes(dtype);
  if (k.size() != size || v.size() != size) {
    return absl::InvalidArgumentError(absl::StrCat("decoding needs ", size, " bytes each for k and v (", layers,
                                                   " layers held), got ", k.size(), " and ", v.size()));
  }
  const bool fast = set == InstructionSet::kAvx512 && IsTurbo(spec.codec.k) && IsTurbo(spec.codec.v) &&
                    spec.head_dim % 64 == 0;
  if (!fast) return DecodeByReference(block, dtype, rotated, k, v);
  DecodeFast(block, KvSide::kKey, dtype, rotated, k.data());
  DecodeFast(block, KvSide::kValue, dtype, rotated, v.data());
  return absl::OkStatus();
}

}  // namespace polarkv::cpu
