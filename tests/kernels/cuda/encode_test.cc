// Whole launches of the encoders on emulated lanes against the reference: the blocks' bytes are the same.
#include "tests/kernels/cuda/host_encode_launch.h"

namespace polarkv::cuda {
namespace {

void Check(const EncodeCase& c, uint32_t seed) { ExpectReferenceBytes<HostBackend>(c, seed); }

constexpr CodecId kCodecs[] = {CodecId::kTurbo2, CodecId::kTurbo3, CodecId::kTurbo4};

TEST(CudaEncodeTest, CodecsAndHeadDims) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const CodecId codec : kCodecs) {
      SCOPED_TRACE(dim * 10 + static_cast<uint32_t>(codec));
      Check({.shape = {.tokens = 64, .head_dim = dim}, .codec = {codec, codec}}, dim);
    }
  }
}

TEST(CudaEncodeTest, TypesOfNumbers) {
  for (const ElementType type : {ElementType::kF16, ElementType::kBF16, ElementType::kF32}) {
    SCOPED_TRACE(static_cast<uint32_t>(type));
    Check({.shape = {.tokens = 100}, .type = type}, 3);
  }
}

TEST(CudaEncodeTest, MixedCodecsSeveralLayersHeadsAndTiles) {
  for (const CodecId k : kCodecs) {
    for (const CodecId v : kCodecs) {
      SCOPED_TRACE(static_cast<uint32_t>(k) * 10 + static_cast<uint32_t>(v));
      Check({.shape = {2, 3, 130, 64}, .codec = {k, v}}, 7);
    }
  }
}

TEST(CudaEncodeTest, LengthsThatLeaveTheLastTileRagged) {
  for (const uint32_t tokens : {1u, 15u, 16u, 17u, 63u, 65u, 127u}) {
    SCOPED_TRACE(tokens);
    Check({.shape = {1, 2, tokens, 128}}, tokens);
  }
}

TEST(CudaEncodeTest, LayoutsOfEnginesWithPagesInAnyOrder) {
  for (const RowLayout layout : {RowLayout::kStrided, RowLayout::kNhdPages, RowLayout::kHndPages,
                                 RowLayout::kInterleavedPages}) {
    SCOPED_TRACE(static_cast<int>(layout));
    Check({.shape = {2, 2, 150, 128}, .layout = layout}, 11);
  }
}

TEST(CudaEncodeTest, FirstPositionsEscape) {
  for (const uint64_t position : {0u, 2u, 4u}) {
    SCOPED_TRACE(position);
    Check({.shape = {2, 2, 70, 128}, .first_position = position}, 13);
    Check({.shape = {1, 2, 3, 64}, .first_position = position}, 13);
  }
}

TEST(CudaEncodeTest, ConstantZeroAndSparseVectors) {
  const FillNumber sparse = [](uint32_t token, uint32_t j, float) { return j == token % 64 ? 3.0f : 0.0f; };
  const FillNumber half_zero = [](uint32_t token, uint32_t, float x) { return token % 2 == 0 ? 0.0f : x; };
  const auto constant = [](float value) { return [value](uint32_t, uint32_t, float) { return value; }; };
  for (const CodecId codec : kCodecs) {
    for (const uint32_t dim : {64u, 128u}) {
      SCOPED_TRACE(static_cast<uint32_t>(codec) * 1000 + dim);
      const EncodeCase c{.shape = {.tokens = 64, .head_dim = dim}, .codec = {codec, codec}};
      EncodeCase other = c;
      other.k = other.v = constant(0.0f);
      Check(other, 1);
      other.k = other.v = constant(-1.5f);
      Check(other, 2);
      other.k = other.v = sparse;
      Check(other, 3);
      other.k = other.v = half_zero;
      Check(other, 4);
    }
  }
}

TEST(CudaEncodeTest, HugeTinyAndSubnormalNumbers) {
  for (const float magnitude : {1e38f, 1e-30f, 1e-36f, 1e-38f, 1e-41f, 1e-44f}) {
    SCOPED_TRACE(magnitude);
    const FillNumber scaled = [=](uint32_t, uint32_t, float x) { return std::clamp(x, -3.0f, 3.0f) * magnitude; };
    Check({.shape = {.tokens = 70}, .type = ElementType::kF32, .k = scaled, .v = scaled}, 5);
    Check({.shape = {.tokens = 70}, .type = ElementType::kBF16, .k = scaled, .v = scaled}, 5);
  }
  const FillNumber largest = [](uint32_t, uint32_t j, float x) {
    return j % 3 == 0 ? (x < 0 ? -0x1.fffffep127f : 0x1.fffffep127f) : x;
  };
  Check({.shape = {.tokens = 64}, .type = ElementType::kF32, .k = largest, .v = largest}, 6);
}

TEST(CudaEncodeTest, MisfitsAndScalesFarApart) {
  // One large coordinate: codes of three bits and more err on it; and tokens of very different norms.
  const FillNumber spiky = [](uint32_t token, uint32_t j, float x) {
    return j == 5 && token % 7 == 0 ? 60.0f : .01f * x;
  };
  const FillNumber far = [](uint32_t token, uint32_t, float x) { return std::ldexp(x, token % 9 == 0 ? -40 : 40); };
  const FillNumber wide = [](uint32_t token, uint32_t, float x) {
    return std::ldexp(x, static_cast<int>(token) * 3 - 96);
  };
  for (const bool escapes : {true, false}) {
    for (const CodecId codec : kCodecs) {
      SCOPED_TRACE(static_cast<uint32_t>(codec) * 10 + (escapes ? 1 : 0));
      EncodeCase c{.shape = {1, 2, 128, 128}, .codec = {codec, codec}, .first_position = 0, .escapes = escapes};
      for (const FillNumber& fill : {spiky, far, wide}) {
        c.k = c.v = fill;
        Check(c, 17);
      }
    }
  }
}

TEST(CudaEncodeTest, ManyRandomTilesHoldNumbersAtEveryThreshold) {
  for (uint32_t seed = 0; seed < 3; ++seed) {
    for (const CodecId codec : kCodecs) Check({.shape = {2, 4, 256, 128}, .codec = {codec, codec}}, 100 + seed);
  }
}

TEST(CudaEncodeTest, WhatIsNotFiniteIsRefusedByName) {
  for (const ElementType type : {ElementType::kF16, ElementType::kBF16, ElementType::kF32}) {
    for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
      SCOPED_TRACE(bad);
      const FillNumber fill = [=](uint32_t token, uint32_t j, float x) { return token == 67 && j == 100 ? bad : x; };
      Check({.shape = {.tokens = 100}, .type = type, .k = fill}, 1);
      Check({.shape = {.tokens = 100}, .type = type, .v = fill}, 1);
      // Among the tokens that are not coded, too.
      const FillNumber first = [=](uint32_t token, uint32_t j, float x) { return token == 1 && j == 127 ? bad : x; };
      Check({.shape = {.tokens = 100}, .type = type, .first_position = 0, .v = first}, 1);
    }
  }
}

TEST(CudaEncodeTest, OtherShapesAreRefused) {
  EncodeCodec codec{128, kTurbo4, kTurbo4, 1};
  EncodeBatch batch;
  batch.blocks = batch.tiles_per_block = batch.layers = batch.kv_heads = 1;
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kNone);
  batch.rows.token_stride = 4;
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kMisalignedRows);
  batch.rows.token_stride = 8;
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kNone);
  batch.rows.k = reinterpret_cast<void*>(8);
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kMisalignedRows);
  batch.rows.k = nullptr;
  codec.head_dim = 96;
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kUnsupportedShape);
  codec = {128, static_cast<CodeKind>(5), kTurbo4, 1};
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kUnsupportedShape);
  codec = {128, kTurbo4, kTurbo4, 1};
  batch.layers = 0;
  EXPECT_EQ(CheckEncode(codec, batch), LaunchError::kUnsupportedShape);
}

TEST(CudaEncodeTest, OtherSpecsHaveNoKernel) {
  BlockSpec spec;
  spec.layers = spec.kv_heads = 1;
  spec.head_dim = 64;
  spec.tokens = 64;
  spec.codec = {CodecId::kTurbo4, CodecId::kTurbo4};
  EXPECT_TRUE(EncodeCodecOf(spec).has_value());
  spec.head_dim = 80;
  EXPECT_FALSE(EncodeCodecOf(spec).has_value());
  spec.head_dim = 64;
  spec.codec.v = CodecId::kTurbo5;
  EXPECT_FALSE(EncodeCodecOf(spec).has_value());
}

}  // namespace
}  // namespace polarkv::cuda
