// Trellis codes, alone and beside turbo codes: whole launches of the encoders on emulated lanes against the reference.
#include "tests/kernels/cuda/host_encode_launch.h"

namespace polarkv::cuda {
namespace {

void Check(const EncodeCase& c, uint32_t seed) { ExpectReferenceBytes<HostBackend>(c, seed); }

constexpr CodecId kCodecs[] = {CodecId::kTrellis1, CodecId::kTrellis2, CodecId::kTrellis3};

TEST(CudaTrellisEncodeTest, CodecsAndHeadDims) {
  for (const uint32_t dim : {64u, 128u, 256u}) {
    for (const CodecId codec : kCodecs) {
      SCOPED_TRACE(dim * 100 + static_cast<uint32_t>(codec));
      Check({.shape = {1, 2, 128, dim}, .codec = {codec, codec}}, dim);
    }
  }
}

TEST(CudaTrellisEncodeTest, TypesOfNumbers) {
  for (const CodecId codec : kCodecs) {
    for (const ElementType type : {ElementType::kF16, ElementType::kBF16, ElementType::kF32}) {
      SCOPED_TRACE(static_cast<uint32_t>(codec) * 10 + static_cast<uint32_t>(type));
      Check({.shape = {.tokens = 100}, .codec = {codec, codec}, .type = type}, 3);
    }
  }
}

TEST(CudaTrellisEncodeTest, MixedWithOneAnotherAndWithTurboCodes) {
  constexpr CodecId kAll[] = {CodecId::kTrellis1, CodecId::kTrellis2, CodecId::kTrellis3,
                              CodecId::kTurbo2,   CodecId::kTurbo3,   CodecId::kTurbo4};
  for (const CodecId k : kAll) {
    for (const CodecId v : kAll) {
      SCOPED_TRACE(static_cast<uint32_t>(k) * 100 + static_cast<uint32_t>(v));
      Check({.shape = {2, 2, 70, 64}, .codec = {k, v}, .first_position = 0}, 7);
    }
  }
}

TEST(CudaTrellisEncodeTest, LengthsThatLeaveRingsOfTokensIncomplete) {
  for (const CodecId codec : kCodecs) {
    for (const uint32_t tokens : {1u, 2u, 7u, 8u, 9u, 15u, 16u, 17u, 63u, 65u}) {
      SCOPED_TRACE(static_cast<uint32_t>(codec) * 100 + tokens);
      Check({.shape = {1, 1, tokens, 64}, .codec = {codec, codec}}, tokens);
    }
  }
}

TEST(CudaTrellisEncodeTest, FirstPositionsLeaveTheirRings) {
  for (const CodecId codec : kCodecs) {
    for (const uint64_t position : {0u, 2u, 4u}) {
      SCOPED_TRACE(static_cast<uint32_t>(codec) * 10 + position);
      Check({.shape = {2, 2, 70, 128}, .codec = {codec, codec}, .first_position = position}, 13);
      Check({.shape = {1, 2, 3, 64}, .codec = {codec, codec}, .first_position = position}, 13);
    }
  }
}

TEST(CudaTrellisEncodeTest, LayoutsOfEngines) {
  for (const RowLayout layout : {RowLayout::kStrided, RowLayout::kNhdPages, RowLayout::kHndPages,
                                 RowLayout::kInterleavedPages}) {
    SCOPED_TRACE(static_cast<int>(layout));
    Check({.shape = {2, 2, 90, 64}, .codec = {CodecId::kTrellis3, CodecId::kTrellis1}, .layout = layout}, 11);
  }
}

// Rotated, these have many coordinates that are equal or zero, and ways of equal cost.
TEST(CudaTrellisEncodeTest, WaysOfEqualCost) {
  const FillNumber sparse = [](uint32_t token, uint32_t j, float) { return j == token % 64 ? 3.0f : 0.0f; };
  const FillNumber pair = [](uint32_t token, uint32_t j, float) {
    return j == token % 64 || j == (token + 17) % 64 ? 1.0f : 0.0f;
  };
  const FillNumber half_zero = [](uint32_t token, uint32_t, float x) { return token % 2 == 0 ? 0.0f : x; };
  const FillNumber alternating = [](uint32_t, uint32_t j, float) { return j % 2 == 0 ? 1.0f : -1.0f; };
  const FillNumber zero = [](uint32_t, uint32_t, float) { return 0.0f; };
  const FillNumber constant = [](uint32_t, uint32_t, float) { return -1.5f; };
  const FillNumber same = [](uint32_t, uint32_t j, float) { return static_cast<float>(j * 37 % 19) - 9; };
  for (const CodecId codec : kCodecs) {
    for (const uint32_t dim : {64u, 256u}) {
      for (const bool escapes : {false, true}) {
        SCOPED_TRACE(static_cast<uint32_t>(codec) * 1000 + dim);
        EncodeCase c{.shape = {.tokens = 64, .head_dim = dim}, .codec = {codec, codec}, .escapes = escapes};
        for (const FillNumber& fill : {sparse, pair, half_zero, alternating, zero, constant, same}) {
          c.k = c.v = fill;
          Check(c, 1);
        }
      }
    }
  }
}

TEST(CudaTrellisEncodeTest, HugeTinyAndSubnormalNumbers) {
  for (const CodecId codec : kCodecs) {
    for (const float magnitude : {1e38f, 1e-30f, 1e-36f, 1e-38f, 1e-41f, 1e-44f}) {
      SCOPED_TRACE(magnitude);
      const FillNumber scaled = [=](uint32_t, uint32_t, float x) { return std::clamp(x, -3.0f, 3.0f) * magnitude; };
      for (const ElementType type : {ElementType::kF32, ElementType::kBF16}) {
        Check({.shape = {.tokens = 64}, .codec = {codec, codec}, .type = type, .k = scaled, .v = scaled}, 5);
      }
    }
  }
}

TEST(CudaTrellisEncodeTest, MisfitsAndScalesFarApart) {
  const FillNumber spiky = [](uint32_t token, uint32_t j, float x) {
    return j == 5 && token % 7 == 0 ? 60.0f : .01f * x;
  };
  const FillNumber far = [](uint32_t token, uint32_t, float x) { return std::ldexp(x, token % 9 == 0 ? -40 : 40); };
  const FillNumber wide = [](uint32_t token, uint32_t, float x) {
    return std::ldexp(x, static_cast<int>(token) * 3 - 96);
  };
  // All energy in two rotated coordinates, so that most rings have nothing to stand for.
  const FillNumber wave = [](uint32_t token, uint32_t j, float) {
    return (j * token % 7 == 0 ? 1.0f : -1.0f) + (token % 5 == 0 ? 40.0f : 0.0f);
  };
  for (const CodecId codec : kCodecs) {
    for (const bool escapes : {true, false}) {
      SCOPED_TRACE(static_cast<uint32_t>(codec) * 10 + (escapes ? 1 : 0));
      EncodeCase c{.shape = {1, 1, 128, 128}, .codec = {codec, codec}, .first_position = 0, .escapes = escapes};
      for (const FillNumber& fill : {spiky, far, wide, wave}) {
        c.k = c.v = fill;
        Check(c, 17);
      }
    }
  }
}

TEST(CudaTrellisEncodeTest, WhatIsNotFiniteIsRefusedByName) {
  for (const CodecId codec : kCodecs) {
    for (const float bad : {std::nanf(""), INFINITY}) {
      SCOPED_TRACE(bad);
      const FillNumber fill = [=](uint32_t token, uint32_t j, float x) { return token == 67 && j == 100 ? bad : x; };
      Check({.shape = {.tokens = 100}, .codec = {codec, codec}, .k = fill}, 1);
      Check({.shape = {.tokens = 100}, .codec = {codec, codec}, .v = fill}, 1);
    }
  }
}

}  // namespace
}  // namespace polarkv::cuda
