// Key means with trellis codes: whole launches of the encoders on emulated lanes, whose blocks are the reference's.
#include "tests/kernels/cuda/biased_keys.h"
#include "tests/kernels/cuda/host_encode_launch.h"

namespace polarkv::cuda {
namespace {

using Layers = std::vector<bool>;

Layers Check(const EncodeCase& c, uint32_t seed) { return ExpectReferenceBytes<HostBackend>(c, seed); }

constexpr Rope kHalf{RopePairing::kHalf, 10000, 128}, kInterleaved{RopePairing::kInterleaved, 500000, 128};
constexpr CodecId kTrellis[] = {CodecId::kTrellis1, CodecId::kTrellis2, CodecId::kTrellis3};
constexpr CodecId kAll[] = {CodecId::kTrellis1, CodecId::kTrellis2, CodecId::kTrellis3,
                            CodecId::kTurbo2,   CodecId::kTurbo3,   CodecId::kTurbo4};

EncodeCase Auto(CodecId keys, const TensorShape& shape, const Rope& rope) {
  return {.shape = shape, .codec = {keys, CodecId::kTurbo4}, .rope = rope, .key_mean = KeyMeanPolicy::kAuto};
}

TEST(CudaTrellisMeansTest, BiasesOfKeysOfEveryCodec) {
  for (const CodecId codec : kTrellis) {
    for (const Rope& rope : {kHalf, kInterleaved}) {
      for (const float size : {0.0f, 20.0f, 600.0f}) {
        SCOPED_TRACE(static_cast<float>(codec) * 1000 + size);
        EXPECT_EQ(Check(WithBias(Auto(codec, {.tokens = 70}, rope), {{size}}), 3), Layers{size != 0});
      }
    }
  }
}

TEST(CudaTrellisMeansTest, HeadDimsAndTypes) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const ElementType type : {ElementType::kF16, ElementType::kBF16, ElementType::kF32}) {
      if (dim != 128 && type != ElementType::kBF16) continue;  // values of these are not emulated
      SCOPED_TRACE(dim);
      const Rope rope{RopePairing::kHalf, 10000, static_cast<uint16_t>(dim)};
      EncodeCase c = WithBias(Auto(CodecId::kTrellis3, {.kv_heads = 2, .tokens = 80, .head_dim = dim}, rope), {{20}});
      c.type = type;
      c.first_position = 0;
      EXPECT_EQ(Check(c, dim), Layers{true});
    }
  }
}

TEST(CudaTrellisMeansTest, KeysAndValuesOfAnyTwoCodecs) {
  for (const CodecId k : kAll) {
    for (const CodecId v : kAll) {
      SCOPED_TRACE(static_cast<uint32_t>(k) * 100 + static_cast<uint32_t>(v));
      EncodeCase c = WithBias(Auto(k, {2, 1, 65, 128}, kHalf), {{0, 20}});
      c.codec.v = v;
      EXPECT_EQ(Check(c, 7), (Layers{false, true}));
    }
  }
}

TEST(CudaTrellisMeansTest, LayersThatPayAndOthersInLongBlocks) {
  const Rope rope{RopePairing::kInterleaved, 10000, 32};
  for (const uint32_t tokens : {130u, 583u}) {
    SCOPED_TRACE(tokens);
    EncodeCase c = WithBias(Auto(CodecId::kTrellis3, {2, 1, tokens, 64}, rope), {{0, 20}});
    c.codec.v = CodecId::kTrellis2;
    c.first_position = 2;
    EXPECT_EQ(Check(c, tokens), (Layers{false, true}));
  }
}

TEST(CudaTrellisMeansTest, ShortBlocksAndFirstPositions) {
  for (const CodecId codec : kTrellis) {
    for (const uint64_t position : {0u, 3u}) {
      for (const uint32_t tokens : {1u, 5u, 9u, 17u, 66u}) {
        SCOPED_TRACE(static_cast<uint32_t>(codec) * 100 + tokens);
        EncodeCase c = Auto(codec, {1, 1, tokens, 128}, kHalf);
        c.first_position = position;
        c.key_mean = KeyMeanPolicy::kAlways;
        EXPECT_EQ(Check(WithBias(c, {{20}}), tokens), Layers{true});
      }
    }
  }
}

TEST(CudaTrellisMeansTest, MeansOfAProfile) {
  const auto skip = [](uint32_t layer, uint32_t head) { return layer == 1 || head == 2; };
  for (const CodecId codec : kTrellis) {
    for (const Rope& rope : {kHalf, Rope{}}) {
      for (const float size : {.2f, 20.0f}) {  // the smaller one makes some keys longer
        SCOPED_TRACE(static_cast<float>(codec) * 1000 + size);
        EncodeCase c = Auto(codec, {3, 2, 70, 128}, rope);
        c.first_kv_head = 1;
        c.first_position = 1;
        const KeyMeanProfilePtr profile = ProfileOf(c, {{size}}, skip);
        c = WithBias(c, {{size}});
        c.profile = profile.get();
        EXPECT_EQ(Check(c, 5), (Layers{true, false, true}));
      }
    }
  }
}

TEST(CudaTrellisMeansTest, MisfitsAndScalesFarApartWithoutTheMean) {
  const FillNumber spiky = [](uint32_t token, uint32_t j, float x) { return j == 5 && token % 7 == 0 ? 90.0f : x; };
  const FillNumber far = [](uint32_t token, uint32_t, float x) { return std::ldexp(x, token % 9 == 0 ? -90 : 3); };
  const FillNumber nothing = [](uint32_t, uint32_t, float) { return 0.0f; };
  for (const CodecId codec : kTrellis) {
    for (const bool escapes : {true, false}) {
      for (const FillNumber& fill : {spiky, far, nothing}) {
        SCOPED_TRACE(static_cast<uint32_t>(codec));
        EncodeCase c = WithBias(Auto(codec, {1, 2, 70, 128}, kHalf), {{20}});
        c.k = fill;
        c.escapes = escapes;
        c.first_position = 0;
        Check(c, 17);
      }
    }
  }
}

TEST(CudaTrellisMeansTest, HugeTinyAndZeroNumbers) {
  for (const CodecId codec : kTrellis) {
    for (const float magnitude : {0.0f, 1e36f, 1e13f, 1e-13f, 1e-37f, 1e-42f}) {
      SCOPED_TRACE(magnitude);
      EncodeCase c = WithBias(Auto(codec, {.kv_heads = 2, .tokens = 66}, kHalf), {{10}});
      c.type = ElementType::kF32;
      c.key_mean = KeyMeanPolicy::kAlways;
      const ShapeKey biased = c.shape_key;
      c.shape_key = [=](uint32_t layer, uint32_t head, uint32_t token, float* key) {
        biased(layer, head, token, key);
        for (uint32_t j = 0; j < 128; ++j) key[j] *= head == 0 ? magnitude : 1.0f;
      };
      EXPECT_EQ(Check(c, 13), Layers{true});
    }
  }
}

TEST(CudaTrellisMeansTest, WhatIsNotFiniteIsRefusedByName) {
  for (const float bad : {std::nanf(""), INFINITY}) {
    EncodeCase c = WithBias(Auto(CodecId::kTrellis3, {2, 1, 70, 128}, kHalf), {{20}});
    c.k = [=](uint32_t token, uint32_t j, float x) { return token == 67 && j == 100 ? bad : x; };
    EXPECT_EQ(Check(c, 1), Layers{});
  }
}

}  // namespace
}  // namespace polarkv::cuda
