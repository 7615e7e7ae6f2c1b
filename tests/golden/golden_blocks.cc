#include "tests/golden/golden_blocks.h"

#include <cmath>
#include <fstream>
#include <iterator>

#include "codec/reference_codec.h"
#include "tests/codec/profile_samples.h"

namespace polarkv::testing {
namespace {

BlockSpec Spec(CodecPair codec, uint16_t head_dim, uint16_t kv_heads, uint32_t tokens, Rope rope = {}) {
  BlockSpec spec;
  spec.layers = 1;
  spec.kv_heads = kv_heads;
  spec.head_dim = head_dim;
  spec.tokens = tokens;
  spec.codec = codec;
  spec.source_dtype = Dtype::kF32;
  spec.rope = rope;
  return spec;
}

// A block as a namespace's second one has it: every field set.
BlockSpec Tagged(BlockSpec spec) {
  spec.first_position = 70;
  spec.first_kv_head = 2;
  spec.source_dtype = Dtype::kBF16;
  spec.rotation_seed = 1;
  for (uint8_t i = 0; i < 16; ++i) spec.namespace_tag[i] = i;
  for (uint8_t i = 0; i < 8; ++i) spec.key_tag[i] = static_cast<uint8_t>(0xF0 + i);
  return spec;
}

// Integers from a linear congruential generator; a sum of four 16-bit ones is near enough to a bell.
class Numbers {
 public:
  explicit Numbers(uint32_t seed) : state_(seed) {}
  int Bell() { return Uniform() + Uniform() + Uniform() + Uniform(); }

 private:
  int Uniform() {
    state_ = state_ * 1664525 + 1013904223;
    return static_cast<int>(state_ >> 16) - 32768;
  }
  uint32_t state_;
};

// Codecs of a layer's own, mean keys under RoPE, tokens stored raw.
GoldenBlock LayersBlock() {
  using enum CodecId;
  GoldenBlock block = {"layers-means-escapes-d80", Spec({kTurbo4, kTurbo3}, 80, 2, 70), GoldenInput::kBiased,
                       {KeyMeanPolicy::kAlways, 4, true}};
  block.spec.rope = {RopePairing::kHalf, 10000.0f, 64};
  block.spec.layers = 2;
  block.spec.layer_parts = {{{kTurbo4, kTurbo3}}, {{kTrellis3, kFp16}}};
  return block;
}

// RoPE frequencies that do not follow from its base, far into a sequence.
GoldenBlock ScaledRopeBlock() {
  GoldenBlock block = {"means-scaled-rope-d64", Spec({CodecId::kTurbo3, CodecId::kTurbo2}, 64, 1, 5),
                       GoldenInput::kBiased, {KeyMeanPolicy::kAlways, 0, false}};
  block.spec.rope = {RopePairing::kInterleaved, 500000.0f, 64};
  block.spec.first_position = 1000003;
  for (uint64_t pair = 0; pair < 32; ++pair) block.spec.phases.push_back((pair + 1) * 0x00F123456789ABCD);
  return block;
}

// Key means that are in a profile, of its second head; a few tokens are nearer to it than to zero.
GoldenBlock ProfiledBlock() {
  GoldenBlock block = {"profiled-d64", Spec({CodecId::kTurbo4, CodecId::kTurbo2}, 64, 1, 6), GoldenInput::kBiased,
                       {KeyMeanPolicy::kAlways, 0, false, BandPolicy::kAlways, GoldenProfile().get()}};
  block.spec.first_kv_head = 1;
  block.spec.rope = GoldenProfile()->shape().rope;
  block.spec.profile_digest = GoldenProfile()->digest();
  return block;
}

int TokenExponent(GoldenInput input, uint32_t token) {
  constexpr int kExponents[] = {120, 0, -140, 0};
  return input == GoldenInput::kExtreme ? kExponents[token % 4] : 0;
}

}  // namespace

KeyMeanProfilePtr GoldenProfile() {
  static const auto* const profile = new KeyMeanProfilePtr(SampleProfile());
  return *profile;
}

const std::vector<GoldenBlock>& GoldenBlocks() {
  using enum CodecId;
  constexpr Rope kNone, kHalf64 = {RopePairing::kHalf, 10000.0f, 64};
  constexpr Rope kInterleaved64 = {RopePairing::kInterleaved, 500000.0f, 64};
  constexpr auto kBell = GoldenInput::kBellShaped;
  static const auto* blocks = new std::vector<GoldenBlock>{
      {"fp16-d64", Spec({kFp16, kFp16}, 64, 1, 3), kBell},
      {"fp16-extreme-d64", Spec({kFp16, kFp16}, 64, 1, 3), GoldenInput::kExtreme},
      {"turbo2-d64", Spec({kTurbo2, kTurbo2}, 64, 2, 70), kBell},
      {"turbo3-d96", Spec({kTurbo3, kTurbo3}, 96, 1, 66), kBell},
      {"turbo4-d80", Spec({kTurbo4, kTurbo4}, 80, 1, 65), kBell},
      {"turbo4-d128", Tagged(Spec({kTurbo4, kTurbo4}, 128, 2, 6, kHalf64)), kBell},
      {"turbo4-d192", Spec({kTurbo4, kTurbo4}, 192, 1, 5), kBell},
      {"turbo4-d256", Spec({kTurbo4, kTurbo4}, 256, 1, 4), kBell},
      {"turbo4-extreme-d64", Spec({kTurbo4, kTurbo4}, 64, 1, 6), GoldenInput::kExtreme},
      {"polar44-d64", Spec({kPolar44, kPolar44}, 64, 1, 68, kHalf64), kBell},
      {"polar44-interleaved-d128", Spec({kPolar44, kPolar44}, 128, 1, 7, kInterleaved64), kBell},
      {"polar44-no-rope-d96", Spec({kPolar44, kPolar44}, 96, 1, 1, kNone), kBell},
      {"polar44-extreme-d64", Spec({kPolar44, kPolar44}, 64, 1, 8, kHalf64), GoldenInput::kExtreme},
      {"k-polar44-v-turbo4-d128", Spec({kPolar44, kTurbo4}, 128, 1, 9, kHalf64), kBell},
      {"k-turbo3-v-fp16-d64", Spec({kTurbo3, kFp16}, 64, 1, 2), kBell},
      {"means-d64", Spec({kTurbo2, kTurbo2}, 64, 1, 6), GoldenInput::kBiased, {KeyMeanPolicy::kAlways, 0, false}},
      {"escapes-d128", Spec({kTrellis2, kTurbo5}, 128, 1, 66), kBell, {KeyMeanPolicy::kNever, 4, true}},
      {"bands-means-escapes-d96", Spec({kBand3, kTrellis1}, 96, 2, 66, {RopePairing::kHalf, 10000.0f, 96}), GoldenInput::kBiased,
       {KeyMeanPolicy::kAlways, 4, true, BandPolicy::kAlways}},
      {"bands-no-rope-d80", Spec({kBand2_5, kFp16}, 80, 1, 5), kBell},
      LayersBlock(),
      ScaledRopeBlock(),
      ProfiledBlock(),
  };
  static const auto* with_each_codec = [] {
    auto* all = new std::vector<GoldenBlock>(*blocks);
    for (const CodecTraits& codec : AllCodecTraits()) {
      const CodecPair pair = {codec.id, codec.keys_only ? kTurbo2 : codec.id};
      all->push_back({"each-" + std::string(CodecName(codec.id)), Spec(pair, 64, 1, 3), kBell});
    }
    return all;
  }();
  return *with_each_codec;
}

std::vector<float> GoldenTensor(const GoldenBlock& block, uint32_t side) {
  const BlockSpec& spec = block.spec;
  Numbers numbers(2 * spec.head_dim + side);
  std::vector<float> values;
  for (uint32_t row = 0; row < uint32_t{spec.layers} * spec.kv_heads * spec.tokens; ++row) {
    const uint32_t token = row % spec.tokens;
    const bool zero = block.input == GoldenInput::kExtreme && token % 4 == 3;
    for (uint32_t i = 0; i < spec.head_dim; ++i) {
      const int exponent = static_cast<int>(i % 3) - 16 + TokenExponent(block.input, token);
      const float bias = block.input == GoldenInput::kBiased && side == 0 ? static_cast<float>(8 * (i % 7)) - 24 : 0;
      values.push_back(zero ? 0.0f : std::ldexp(static_cast<float>(numbers.Bell()), exponent) + bias);
    }
  }
  return values;
}

std::vector<uint8_t> EncodeGolden(const GoldenBlock& block) {
  const BlockSpec& spec = block.spec;
  const std::vector<float> k = GoldenTensor(block, 0), v = GoldenTensor(block, 1);
  const std::array<int64_t, 4> shape = {spec.layers, spec.kv_heads, spec.tokens, spec.head_dim};
  return reference::EncodeBlock(spec, TensorView::Contiguous(k.data(), Dtype::kF32, shape),
                                TensorView::Contiguous(v.data(), Dtype::kF32, shape), block.options)
      .value();
}

std::vector<float> DecodeGolden(const BlockView& view) {
  const BlockSpec& spec = view.spec();
  const size_t size = size_t{spec.layers} * spec.kv_heads * spec.tokens * spec.head_dim;
  std::vector<float> decoded(2 * size);
  const std::span<float> all(decoded);
  const absl::Status status = reference::DecodeBlock(view, all.first(size), all.subspan(size));
  return status.ok() ? decoded : std::vector<float>();
}

std::vector<uint8_t> ReadBytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace polarkv::testing
