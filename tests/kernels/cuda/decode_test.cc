// Whole launches of the decoders on emulated lanes against the reference: the floats are the same, bit by bit.
#include "tests/kernels/cuda/decode_fixture.h"
#include "tests/kernels/cuda/host_decode.h"

namespace polarkv::cuda {
namespace {

void Check(const DecodeCase& c, uint32_t seed) { ExpectReferenceRows<HostDecoder>(c, seed); }

constexpr CodecId kCodecs[] = {CodecId::kTurbo2,   CodecId::kTurbo3,   CodecId::kTurbo4,
                               CodecId::kTrellis1, CodecId::kTrellis2, CodecId::kTrellis3};

TEST(CudaDecodeTest, CodecsAndHeadDims) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const CodecId codec : kCodecs) {
      SCOPED_TRACE(dim * 100 + static_cast<uint32_t>(codec));
      Check({.of = {.shape = {1, 1, 64, dim}, .codec = {codec, codec}}}, dim);
    }
  }
}

TEST(CudaDecodeTest, MixedCodecsSeveralLayersHeadsAndTiles) {
  for (const CodecId k : kCodecs) {
    for (const CodecId v : kCodecs) {
      SCOPED_TRACE(static_cast<uint32_t>(k) * 100 + static_cast<uint32_t>(v));
      Check({.of = {.shape = {2, 2, 130, 64}, .codec = {k, v}}}, 7);
    }
  }
}

TEST(CudaDecodeTest, TypesOfRows) {
  for (const ElementType type : {ElementType::kF16, ElementType::kBF16, ElementType::kF32}) {
    for (const float magnitude : {1.0f, 1e-6f, 3e4f, 1e38f, 1e-40f}) {
      SCOPED_TRACE(magnitude);
      const FillNumber scaled = [=](uint32_t, uint32_t, float x) { return std::clamp(x, -3.0f, 3.0f) * magnitude; };
      Check({.of = {.shape = {1, 1, 70, 128}, .first_position = 0, .k = scaled, .v = scaled}, .type = type}, 9);
    }
  }
}

TEST(CudaDecodeTest, PlanesThatWereNotFetched) {
  for (const CodecId codec : {CodecId::kTurbo3, CodecId::kTurbo4}) {
    const PlaneMask base = PlaneBit(PlaneKind::kBase);
    const PlaneMask first = base | PlaneBit(PlaneKind::kKeyRefine1) | PlaneBit(PlaneKind::kValueRefine1);
    for (const PlaneMask planes : {base, first, base | PlaneBit(PlaneKind::kKeyRefine1)}) {
      SCOPED_TRACE(planes);
      Check({.of = {.shape = {2, 1, 64, 128}, .codec = {codec, codec}}, .planes = planes}, planes);
    }
  }
}

TEST(CudaDecodeTest, LengthsAndLayoutsOfEngines) {
  for (const uint32_t tokens : {1u, 17u, 63u, 65u, 150u}) {
    for (const RowLayout layout : {RowLayout::kContiguous, RowLayout::kStrided, RowLayout::kNhdPages,
                                   RowLayout::kHndPages, RowLayout::kInterleavedPages}) {
      SCOPED_TRACE(tokens * 10 + static_cast<uint32_t>(layout));
      Check({.of = {.shape = {2, 2, tokens, 128}, .layout = layout}}, tokens);
    }
  }
}

TEST(CudaDecodeTest, EscapedTokensComeFromTheirRecords) {
  const FillNumber spiky = [](uint32_t token, uint32_t j, float x) {
    return j == 5 && token % 7 == 0 ? 6e4f : .01f * x;
  };
  const FillNumber far = [](uint32_t token, uint32_t, float x) { return std::ldexp(x, token % 9 == 0 ? -140 : 110); };
  for (const CodecId codec : kCodecs) {
    for (const FillNumber& fill : {spiky, far}) {
      SCOPED_TRACE(static_cast<uint32_t>(codec));
      Check({.of = {.shape = {2, 2, 130, 64}, .codec = {codec, codec}, .first_position = 1, .k = fill, .v = Plain}}, 3);
      Check({.of = {.shape = {2, 2, 130, 64}, .codec = {codec, codec}, .first_position = 1, .k = fill, .v = fill}}, 4);
    }
  }
}

TEST(CudaDecodeTest, ScalesDownToWhereFloatsEnd) {
  const FillNumber falling = [](uint32_t token, uint32_t, float x) {
    return std::ldexp(x, -60 - 2 * static_cast<int>(token % 48));
  };
  Check({.of = {.shape = {1, 1, 128, 128}, .k = falling, .v = falling}}, 5);
}

TEST(CudaDecodeTest, OtherShapesAreRefused) {
  AttentionCodec codec;
  codec.head_dim = 128;
  DecodeBatch batch;
  batch.blocks = batch.tiles_per_block = batch.layers = batch.kv_heads = 1;
  EXPECT_EQ(CheckDecode(codec, batch), LaunchError::kNone);
  batch.rows.head_stride = 3;
  EXPECT_EQ(CheckDecode(codec, batch), LaunchError::kMisalignedRows);
  batch.rows.head_stride = 0;
  codec.head_dim = 80;
  EXPECT_EQ(CheckDecode(codec, batch), LaunchError::kUnsupportedShape);
}

}  // namespace
}  // namespace polarkv::cuda
