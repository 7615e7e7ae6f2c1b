#include "kernels/cpu/cpu_decode.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "codec/half_float.h"
#include "codec/key_mean.h"
#include "codec/kv_side.h"
#include "codec/log_scale.h"
#include "codec/reference_codec.h"
#include "codec/rope_phase.h"
#include "codec/rotation.h"
#include "codec/tile_decoder.h"
#include "codec/tile_matrix.h"
#include "codec/trellis_code.h"
#include "codec/turbo_codebook.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/cpu/key_mean_rows.h"
#include "kernels/cpu/turbo_bodies.h"

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

// Tiles in order of their tokens' place in the output.
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

// What is not in a tile's codes: escaped tokens, and the mean that was taken off keys.
class Records {
 public:
  Records(const BlockView& block, bool rotated, InstructionSet set)
      : block_(block),
        rotated_(rotated),
        turns_fast_(!rotated && HasAvx512(set) && block.spec().rope.dims % 32 == 0),
        signs_(RotationSigns(block.spec().rotation_seed)) {}

  static bool Any(const TilePart& part) { return (part.escapes | part.means) != 0; }

  // rows: [tokens][head_dim] of what the codes say.
  void Apply(const TilePart& part, uint32_t layer, uint32_t head, uint32_t tile, float* rows) const {
    const BlockSpec& spec = block_.spec();
    const std::array<float, kMaxHeadDim> mean = ReadRecord(block_.KeyMean(layer, head));
    // The codes of some codecs with scales are not rotated.
    const bool rotated = rotated_ && TraitsOf(part.codec).rotates;
    uint32_t escape = part.first_escape;
    const uint32_t tokens = TileTokenCount(spec, tile);
    uint64_t means = part.means & ~part.escapes & (~uint64_t{0} >> (kTileTokens - tokens));
    if (turns_fast_) {
      AddMeans(mean, spec.first_position + tile * uint64_t{kTileTokens}, means, rows);
      means = 0;
    }
    for (uint32_t t = 0; t < tokens; ++t) {
      float* row = rows + t * spec.head_dim;
      if ((part.escapes >> t & 1) != 0) {
        std::array<float, kMaxHeadDim> raw = ReadRecord(block_.EscapeRecord(layer, escape++));
        if (rotated) Rotate(raw.data());
        std::copy_n(raw.begin(), spec.head_dim, row);
      } else if ((means >> t & 1) != 0) {
        float turned[kMaxHeadDim];
        const uint64_t position = spec.first_position + tile * uint64_t{kTileTokens} + t;
        TurnToPosition(spec.rope, spec.phases, position, mean.data(), spec.head_dim, turned);
        if (rotated) Rotate(turned);
        for (uint32_t j = 0; j < spec.head_dim; ++j) row[j] = SaturateToFloat(double{row[j]} + turned[j]);
      }
    }
  }

 private:
  void AddMeans([[maybe_unused]] const std::array<float, kMaxHeadDim>& mean, [[maybe_unused]] uint64_t position,
                [[maybe_unused]] uint64_t tokens, [[maybe_unused]] float* rows) const {
#if defined(__x86_64__)
    const BlockSpec& spec = block_.spec();
    const TurnedMean turned = {mean.data(), spec.phases.data(), static_cast<uint32_t>(spec.phases.size()), spec.head_dim,
                               spec.rope.pairing == RopePairing::kInterleaved};
    AddMeanAvx512(turned, position, tokens, rows);
#endif
  }

  void Rotate(float* x) const {
    const uint32_t d = block_.spec().head_dim;
    double wide[kMaxHeadDim];  // sums of floats may exceed the largest one
    for (uint32_t j = 0; j < d; ++j) wide[j] = double{x[j]} * (signs_[j] * RotationScale(d));
    HadamardBlocks(wide, d, RotationBlock(d), 1);
    for (uint32_t j = 0; j < d; ++j) x[j] = SaturateToFloat(wide[j]);
  }

  const BlockView& block_;
  bool rotated_;
  bool turns_fast_;  // registers of pairs
  std::array<float, kMaxHeadDim> signs_;
};

// How a codec's codes are read; kNone: not by a fast body.
CodeKind KindOf(const TilePart& part) {
  constexpr CodeKind kTurbo[] = {CodeKind::kTurbo1, CodeKind::kTurbo2, CodeKind::kTurbo3, CodeKind::kTurbo4, CodeKind::kTurbo5};
  constexpr CodeKind kTrellis[] = {CodeKind::kTrellis1, CodeKind::kTrellis2, CodeKind::kTrellis3};
  if (IsTrellis(part.codec)) return kTrellis[TrellisBits(part.codec) - 1];
  return IsTurbo(part.codec) ? kTurbo[part.bits - 1] : CodeKind::kNone;
}

TurboTable TableOf(CodecId codec, uint32_t bits) {
  constexpr int kOffset = TurboDecoderShape::kImageOffset;
  if (!IsTrellis(codec)) return MakeTurboTable(TurboCodebookFor(codec, bits), kOffset);
  return MakeTrellisTable(TrellisCodebookFor(TrellisBits(codec)), TrellisBits(codec), kOffset);
}

// Decodes one side of a block tile by tile.
class SideDecoder {
 public:
  SideDecoder(const BlockView& block, KvSide side, Dtype dtype, bool rotated, InstructionSet set)
      : block_(block),
        side_(side),
        dtype_(dtype),
        rotated_(rotated),
        set_(set),
        records_(block, rotated, set),
        reference_(side, block.spec().head_dim, block.spec().rotation_seed),
        reader_(side, block.spec().head_dim) {
    const BlockSpec& spec = block.spec();
    const std::array<float, kMaxHeadDim> signs = RotationSigns(spec.rotation_seed);
    for (uint32_t j = 0; j < kMaxHeadDim; ++j) {
      sign_bits32_[j] = signs[j] < 0 ? 0x80000000u : 0;
      sign_bits16_[j] = signs[j] < 0 ? 0x8000u : 0;
    }
    shape_.sign_bits16 = sign_bits16_.data();
    shape_.sign_bits32 = sign_bits32_.data();
#if defined(__x86_64__)
    shape_.converts_bf16 = __builtin_cpu_supports("avx512bf16") != 0;
#endif
    shape_.head_dim = spec.head_dim;
    shape_.keys = side == KvSide::kKey;
    for (uint32_t i = 0; i < octave_.size(); ++i) octave_[i] = double{kOctave[i]};
  }

  // out: the tile's rows.
  void Decode(uint32_t layer, uint32_t head, uint32_t tile, uint8_t* out) {
    const uint32_t d = block_.spec().head_dim;
    const uint32_t tokens = TileTokenCount(block_.spec(), tile);
    const TilePart part = FindTilePart(block_, side_, layer, head, tile);
    // Numbers of a refused block may have masks where the codec has no scales: nothing to be trusted there.
    const bool records = Records::Any(part) && TraitsOf(part.codec).has_scales;
    const CodeKind kind = KindOf(part);
    TurboDecodeBody* fast = kind != CodeKind::kNone ? TurboDecodeBodyFor(set_, d) : nullptr;
    if (fast != nullptr && !records) return DecodeFast(*fast, kind, part, tokens, dtype_, out);
    if (fast != nullptr) {
      DecodeFast(*fast, kind, part, tokens, Dtype::kF32, reinterpret_cast<uint8_t*>(rows_.data()));
    } else if (rotated_ && TraitsOf(part.codec).rotates) {
      ReadRotated(part, tokens);
    } else {
      reference_.Decode(part, block_.spec().rope, tokens, rows_.data());
    }
    if (records) records_.Apply(part, layer, head, tile, rows_.data());
    Store(size_t{tokens} * d, out);
  }

 private:
  void DecodeFast(TurboDecodeBody& body, CodeKind kind, const TilePart& part, uint32_t tokens, Dtype dtype, uint8_t* out) {
    if (shape_.kind != kind || codec_ != part.codec) {
      shape_.kind = kind;
      codec_ = part.codec;
      shape_.table = TableOf(part.codec, part.bits);
    }
    shape_.rotated = rotated_;
    shape_.dtype = static_cast<uint32_t>(dtype);
    TurboDecodeTile to;
    PlacePlanes(part, to);
    to.tokens = tokens;
    to.rows = out;
    const double constant = rotated_ ? 1.0 : double{RotationScale(shape_.head_dim)};
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      // TokenFactor(ScaleValue(part.range, code), constant): products with powers of two are exact in double.
      const int step = (int{part.range.base} + part.scales[t]) * (1 << (part.range.shift & 7));
      const int octave = step >> kScaleStepBits;
      const double power = octave >= -1022 && octave <= 1023
                               ? std::bit_cast<double>(static_cast<uint64_t>(1023 + octave) << 52)
                               : std::ldexp(1.0, octave);  // of no block that an encoder made
      const bool zero = part.scales[t] == 0 || (part.escapes >> t & 1) != 0;
      to.factor[t] = zero ? 0.0f : SaturateToFloat(octave_[step & (kScaleSteps - 1)] * constant * power);
    }
    body(shape_, to);
  }

  // rows_ to the output; the dtype's 32 numbers divide every head_dim but 80.
  void Store(size_t count, uint8_t* out) const {
#if defined(__x86_64__)
    if (HasAvx512(set_) && count % 32 == 0) {
      return NarrowAvx512(rows_.data(), count, static_cast<uint32_t>(dtype_), out);
    }
#endif
    StoreFloats(rows_.data(), count, dtype_, out);
  }

  void PlacePlanes(const TilePart& part, TurboDecodeTile& to) const {
    const uint32_t base = block_.layout().layer(block_.layer_begin()).base_tile.bytes, refine = 8 * shape_.head_dim;
    uint32_t count = 0;
    const auto place = [&](const uint8_t* plane, uint32_t stride) {
      to.plane[count] = plane;
      to.stride[count++] = stride;
    };
    place(part.planes.payload, base);
    const bool after_crumbs = part.codec == CodecId::kTurbo5 || part.codec == CodecId::kTrellis3;
    if (after_crumbs) place(part.planes.payload + 2 * refine, base);
    place(part.planes.refine1, part.planes.refine1 != nullptr ? refine : 0);
    place(part.planes.refine0, part.planes.refine0 != nullptr ? refine : 0);
  }

  void ReadRotated(const TilePart& part, uint32_t tokens) {
    const uint32_t d = shape_.head_dim;
    reader_.Read(part, block_.spec().rope, matrix_);
    for (uint32_t t = 0; t < tokens; ++t) {
      const double factor = TokenFactor(matrix_.factor[t], 1);
      for (uint32_t j = 0; j < d; ++j) {
        const float image = matrix_.value[side_ == KvSide::kKey ? j * kTileTokens + t : t * d + j];
        rows_[t * d + j] = SaturateToFloat(factor * image);
      }
    }
  }

  const BlockView& block_;
  KvSide side_;
  Dtype dtype_;
  bool rotated_;
  InstructionSet set_;
  CodecId codec_{};
  TurboDecoderShape shape_;
  alignas(64) std::array<uint16_t, kMaxHeadDim> sign_bits16_;
  alignas(64) std::array<uint32_t, kMaxHeadDim> sign_bits32_;
  std::array<double, kScaleSteps> octave_;
  Records records_;
  TileDecoder reference_;
  TileMatrixReader reader_;
  TileMatrix matrix_;
  alignas(64) std::array<float, kMaxTileCodes> rows_;
};

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
  for (uint32_t layer = block.layer_begin(); layer < block.layer_end(); ++layer) {
    if (absl::Status s = block.CheckMeans(layer); !s.ok()) return s;
  }
  const auto keys = std::make_unique<SideDecoder>(block, KvSide::kKey, dtype, rotated, set);
  const auto values = std::make_unique<SideDecoder>(block, KvSide::kValue, dtype, rotated, set);
  const size_t token_bytes = size_t{spec.head_dim} * ElementBytes(dtype);
  ForEachTile(block, [&](uint32_t layer, uint32_t head, uint32_t tile, size_t token) {
    keys->Decode(layer, head, tile, k.data() + token * token_bytes);
    values->Decode(layer, head, tile, v.data() + token * token_bytes);
  });
  return absl::OkStatus();
}

}  // namespace polarkv::cpu
