// Tokens that are stored raw, and layers with codecs of their own.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "codec/rotation.h"
#include "codec/tile_matrix.h"
#include "codec/turbo_codebook.h"
#include "tests/codec/codec_cases.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Decode;
using testing::Encode;
using testing::Gaussian;
using testing::GaussianKv;
using testing::Kv;
using testing::OneHead;
using testing::Parse;
using testing::RelativeSquaredError;

constexpr double kHalfRounding = 0x1p-22;  // 2^-11 of each coordinate, squared

uint64_t EscapesOf(const BlockView& block, KvSide side, uint32_t tile) {
  return FindTilePart(block, side, 0, 0, tile).escapes;
}

TEST(Escapes, TheFirstTokensOfASequenceAreRaw) {
  BlockSpec spec = OneHead({CodecId::kTurbo2, CodecId::kTrellis2}, 128, 100);
  const Kv kv = GaussianKv(spec, 1);
  for (uint32_t raw : {0u, 1u, 4u, 70u}) {
    for (uint64_t first : {0u, 2u, 64u}) {
      spec.first_position = first;
      const std::vector<uint8_t> bytes = Encode(spec, kv, {KeyMeanPolicy::kNever, raw, true});
      const BlockView block = Parse(bytes);
      const uint32_t expected = first < raw ? static_cast<uint32_t>(raw - first) : 0;
      EXPECT_EQ(block.layout().layer(0).escapes, 2 * expected);
      const Kv read = Decode(block);
      for (uint32_t t = 0; t < 100; ++t) {
        const double k = RelativeSquaredError(&kv.k[t * 128], &read.k[t * 128], 128);
        const double v = RelativeSquaredError(&kv.v[t * 128], &read.v[t * 128], 128);
        EXPECT_EQ(k < kHalfRounding && v < kHalfRounding, t < expected) << t;
      }
    }
  }
}

// What the rotation makes a single large coordinate of, which no scalar code holds.
std::vector<float> RotatesToOneCoordinate(uint32_t head_dim, uint64_t seed, float size) {
  std::vector<float> x(head_dim);
  x[3] = size;
  HadamardBlocks(x.data(), head_dim, RotationBlock(head_dim), 1);
  const auto signs = RotationSigns(seed);
  for (uint32_t j = 0; j < head_dim; ++j) x[j] *= signs[j];
  return x;
}

TEST(Escapes, TokensThatTheirCodecServesBadlyAreRaw) {
  for (CodecId codec : {CodecId::kTurbo3, CodecId::kTurbo4, CodecId::kTurbo5, CodecId::kTrellis3}) {
    BlockSpec spec = OneHead({codec, codec}, 128, 130);
    spec.first_position = 640;
    Kv kv = GaussianKv(spec, 2);
    // One coordinate in the rotated space is held exactly by the scale; two of unlike size are not.
    const std::vector<float> one = RotatesToOneCoordinate(128, spec.rotation_seed, 1);
    std::vector<float> sparse(128);
    for (uint32_t j = 0; j < 128; ++j) sparse[j] = one[j] + (j % 2 == 0 ? .4f : -.4f) * one[j];
    std::copy(sparse.begin(), sparse.end(), kv.k.begin() + 70 * 128);
    std::copy(sparse.begin(), sparse.end(), kv.v.begin() + 129 * 128);
    const std::vector<uint8_t> bytes = Encode(spec, kv);
    const BlockView block = Parse(bytes);
    EXPECT_EQ(EscapesOf(block, KvSide::kKey, 1), uint64_t{1} << 6) << CodecName(codec);
    EXPECT_EQ(EscapesOf(block, KvSide::kValue, 2), uint64_t{1} << 1) << CodecName(codec);
    const Kv read = Decode(block);
    EXPECT_LT(RelativeSquaredError(&kv.k[70 * 128], &read.k[70 * 128], 128), kHalfRounding);
    EXPECT_LT(RelativeSquaredError(&kv.v[129 * 128], &read.v[129 * 128], 128), kHalfRounding);
    EXPECT_EQ(Parse(Encode(spec, kv, testing::kCodesAlone)).layout().layer(0).escapes, 0u);
  }
}

TEST(Escapes, AreRareOnGaussianVectors) {
  for (uint32_t head_dim : {64u, 128u}) {
    for (CodecId codec : {CodecId::kTurbo4, CodecId::kTurbo5, CodecId::kTrellis2}) {
      BlockSpec spec = OneHead({codec, codec}, head_dim, 8192);
      spec.first_position = 640;
      EXPECT_LE(Parse(Encode(spec, GaussianKv(spec, 3))).layout().layer(0).escapes, 16384 / 1000u) << CodecName(codec);
    }
  }
}

TEST(Escapes, LeaveNoBitsBehindInPlanesThatOnlyValuesHave) {
  for (CodecId codec : {CodecId::kTurbo3, CodecId::kTurbo4, CodecId::kTurbo5}) {
    BlockSpec spec = OneHead({CodecId::kFp16, codec}, 128, 64);
    spec.first_position = 640;
    Kv kv = GaussianKv(spec, 7);
    const std::vector<float> one = RotatesToOneCoordinate(128, spec.rotation_seed, 1);
    for (uint32_t j = 0; j < 128; ++j) kv.v[9 * 128 + j] = one[j] + (j % 2 == 0 ? .4f : -.4f) * one[j];
    const std::vector<uint8_t> bytes = Encode(spec, kv);
    const BlockView block = Parse(bytes);
    const TilePart part = FindTilePart(block, KvSide::kValue, 0, 0, 0);
    ASSERT_EQ(part.escapes, uint64_t{1} << 9) << CodecName(codec);
    std::vector<uint8_t> codes(kMaxTileCodes);
    CodeMatrix(KvSide::kValue, 128)
        .Unpack(part.bits, TurboCodePlanes(TurboBits(codec), 128, part.planes), codes.data());
    for (uint32_t j = 0; j < 128; ++j) ASSERT_EQ(codes[9 * 128 + j], 0) << CodecName(codec) << ", coordinate " << j;
  }
}

TEST(Escapes, AFewScalesFarFromTheOthersDoNotCoarsenThem) {
  BlockSpec spec = OneHead({CodecId::kTurbo4, CodecId::kTurbo4}, 128, 64);
  spec.first_position = 640;
  Kv kv = GaussianKv(spec, 4);
  for (uint32_t j = 0; j < 128; ++j) {
    kv.k[20 * 128 + j] *= 1e-6f;
    kv.k[30 * 128 + j] *= 1e5f;
  }
  const std::vector<uint8_t> bytes = Encode(spec, kv);
  const TilePart part = FindTilePart(Parse(bytes), KvSide::kKey, 0, 0, 0);
  EXPECT_EQ(part.escapes, uint64_t{1} << 20 | uint64_t{1} << 30);
  EXPECT_EQ(part.range.shift, 0);
}

TEST(Escapes, AWholeTileMayBeRaw) {
  BlockSpec spec = OneHead({CodecId::kTrellis2, CodecId::kTrellis1}, 64, 192);
  const Kv kv = GaussianKv(spec, 5);
  spec.first_position = 0;
  const std::vector<uint8_t> bytes = Encode(spec, kv, {KeyMeanPolicy::kNever, 128, true});
  const BlockView block = Parse(bytes);
  EXPECT_EQ(block.layout().layer(0).escapes, 256u);
  EXPECT_EQ(EscapesOf(block, KvSide::kKey, 1), ~uint64_t{0});
  const Kv read = Decode(block);
  for (uint32_t t = 0; t < 128; ++t) {
    EXPECT_LT(RelativeSquaredError(&kv.k[t * 64], &read.k[t * 64], 64), kHalfRounding);
    EXPECT_LT(RelativeSquaredError(&kv.v[t * 64], &read.v[t * 64], 64), kHalfRounding);
  }
}

TEST(LayerParts, LayersMayHaveCodecsOfTheirOwn) {
  BlockSpec spec = OneHead({CodecId::kTurbo4, CodecId::kTurbo4}, 64, 130);
  spec.layers = 4;
  spec.kv_heads = 2;
  spec.layer_parts = {{{CodecId::kFp16, CodecId::kFp16}, false, 0},
                      {spec.codec, false, 0},
                      {{CodecId::kTrellis2, CodecId::kPolar44}, false, 0},
                      {{CodecId::kTurbo5, CodecId::kTrellis1}, false, 0}};
  const Kv kv = GaussianKv(spec, 6);
  const std::vector<uint8_t> bytes = Encode(spec, kv);
  const BlockView block = Parse(bytes);
  const Kv read = Decode(block);
  const size_t layer_size = kv.k.size() / 4;
  for (uint32_t layer = 0; layer < 4; ++layer) {
    EXPECT_EQ(block.layout().layer(layer).codec, spec.layer_parts[layer].codec);
    BlockSpec alone = spec;
    alone.layers = 1;
    alone.codec = spec.layer_parts[layer].codec;
    alone.layer_parts.clear();
    const auto part = [&](const std::vector<float>& x) {
      return std::vector<float>(x.begin() + layer * layer_size, x.begin() + (layer + 1) * layer_size);
    };
    const std::vector<uint8_t> alone_bytes = Encode(alone, {part(kv.k), part(kv.v)});
    const Kv expected = Decode(Parse(alone_bytes));
    EXPECT_EQ(part(read.k), expected.k) << layer;
    EXPECT_EQ(part(read.v), expected.v) << layer;
  }
}

}  // namespace
}  // namespace polarkv
