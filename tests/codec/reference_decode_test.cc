// What every codec keeps of a tensor: errors within derived bounds, for every head dim, RoPE pairing and token count.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "codec/band_table.h"
#include "codec/half_float.h"
#include "codec/outlier_sketch.h"
#include "codec/polar_coordinates.h"
#include "codec/sign_sketch.h"
#include "codec/trellis_code.h"
#include "codec/turbo_codebook.h"
#include "tests/codec/codec_cases.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Decode;
using testing::Dot;
using testing::Encode;
using testing::Gaussian;
using testing::GaussianKv;
using testing::Kv;
using testing::OneHead;
using testing::Parse;
using testing::RelativeSquaredError;
using testing::SeedText;
using testing::SpecText;

// Relative squared error of one side: of x decoded as y, per vector on average.
double MeanRelativeError(const std::vector<float>& x, const std::vector<float>& y, uint32_t head_dim) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); i += head_dim) sum += RelativeSquaredError(&x[i], &y[i], head_dim);
  return sum * head_dim / static_cast<double>(x.size());
}

// Mean squared errors of the rotated codecs on N(0,1).
double Distortion(CodecId codec) {
  constexpr double kTurbo[] = {.36338, .11748, .03455, .00952, .00254}, kTrellis[] = {.3035, .0895, .0275};
  constexpr double kDeep[] = {.147, .075, .0398, .0198};
  switch (TraitsOf(codec).kind) {
    case CodecKind::kTrellis:
      return kTrellis[TrellisBits(codec) - 1];
    case CodecKind::kDeep:
      return kDeep[static_cast<int>(codec) - static_cast<int>(CodecId::kDeep1_5)];
    case CodecKind::kPolarRecursive:
      return .0322;
    case CodecKind::kQjl: {
      // Of signs in m orthonormal bases the error is (pi/2 - 1) / m; here D / (1 - D) is.
      const double error = .5708 / QjlTileEncoder::QjlProjections(codec);
      return error / (1 + error);
    }
    case CodecKind::kQjlOutliers: {  // outliers apart err no more
      const double error = .5708 / OutlierProjections(codec);
      return error / (1 + error);
    }
    case CodecKind::kBand:  // which N(0, I) is not put in
      return Distortion(PlainCodecOf(codec));
    case CodecKind::kTurboQjl: {
      // What is left over is sketched by one basis; d E|u|^2 is above 2 / pi for small d.
      return .5708 * kTurbo[TurboBits(codec) - 1];
    }
    default:
      return kTurbo[TurboBits(codec) - 1];
  }
}

// A rotated vector's coordinates are close to independent N(0,1), so that its relative error has the mean D (the
// quantizer's mean squared error; D / (1 - D) for keys, whose scale is longer) and the standard deviation
// c * D / sqrt(head_dim), c = sqrt(E e^4 / D^2 - 1) < 2.5 for Lloyd-Max errors e. Six standard deviations are allowed,
// and what scales in steps of 1/64 octave add, at most (.55 %)^2.
double RotatedBound(CodecId codec, size_t vectors, uint32_t head_dim) {
  const double distortion = Distortion(codec);
  const double deviations = 6 * 2.5 / std::sqrt(static_cast<double>(vectors * head_dim));
  return distortion / (1 - distortion) * (1 + deviations) + 3e-5;
}

// fp16 rounds by at most 2^-11, or by half a unit of the subnormal halves.
void ExpectHalves(const std::vector<float>& x, const std::vector<float>& y) {
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], std::max(std::fabs(x[i]) * 0x1p-11, 0x1p-25)) << i;
}

// Polar: at most half of 2^-t turn and of 2^-r of the largest radius of the pair in its tile, apart from fp16's rounding of
// the parameters (2^-10 of the radius in all).
void ExpectPolar(const BlockSpec& spec, CodecId codec, const std::vector<float>& x, const std::vector<float>& y) {
  const double angle = 3.14159266 / (1 << PolarAngleBits(codec)), radius = .5 / (1 << PolarRadiusBits(codec));
  for (uint32_t p = 0; p < spec.head_dim / 2; ++p) {
    const CoordinatePair pair = PairOf(spec.rope, spec.head_dim, p);
    double largest = 0;
    for (uint32_t t = 0; t < spec.tokens; ++t) {
      const size_t at = size_t{t} * spec.head_dim;
      largest = std::max(largest, std::hypot(double{x[at + pair.first]}, double{x[at + pair.second]}));
    }
    for (uint32_t t = 0; t < spec.tokens; ++t) {
      const size_t at = size_t{t} * spec.head_dim;
      const double error =
          std::hypot(x[at + pair.first] - y[at + pair.first], x[at + pair.second] - y[at + pair.second]);
      ASSERT_LE(error, largest * (radius + angle + 0x1p-10)) << "pair " << p << " token " << t;
    }
  }
}

class DecodeOf : public ::testing::TestWithParam<testing::CodecCase> {};

TEST_P(DecodeOf, ErrsWithinTheCodecsBound) {
  for (const BlockSpec& spec : GetParam().Specs()) {
    const uint32_t seed = 1000 + spec.head_dim + spec.tokens;
    SCOPED_TRACE(SpecText(spec) + ", " + SeedText(seed));
    const Kv kv = GaussianKv(spec, seed);
    const std::vector<uint8_t> bytes = Encode(spec, kv);
    const Kv out = Decode(Parse(bytes));
    const auto check = [&spec](CodecId codec, const std::vector<float>& x, const std::vector<float>& y) {
      ASSERT_EQ(x.size(), y.size());
      if (codec == CodecId::kFp16) return ExpectHalves(x, y);
      if (IsPolarPair(codec)) return ExpectPolar(spec, codec, x, y);
      EXPECT_LT(MeanRelativeError(x, y, spec.head_dim), RotatedBound(codec, spec.tokens, spec.head_dim));
    };
    check(spec.codec.k, kv.k, out.k);
    check(spec.codec.v, kv.v, out.v);
  }
}

TEST_P(DecodeOf, IsTheSameForEveryEncodingOfTheSameTensor) {
  for (const BlockSpec& spec : GetParam().Specs()) {
    const Kv kv = GaussianKv(spec, 7);
    EXPECT_EQ(Encode(spec, kv), Encode(spec, kv)) << SpecText(spec);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, DecodeOf, ::testing::ValuesIn(testing::AllCodecCases()), testing::CodecCaseName);

class DecodeAtScale : public ::testing::TestWithParam<CodecId> {};

TEST_P(DecodeAtScale, ErrsByTheSameFractionFromSubnormalsTo1e30) {
  const uint32_t seed = 50;
  SCOPED_TRACE(SeedText(seed));
  for (uint32_t head_dim : {64u, 80u, 128u}) {
    const BlockSpec spec = OneHead(testing::ForBothSides(GetParam()), head_dim, 65);
    const Kv one = GaussianKv(spec, seed);
    const std::vector<uint8_t> one_bytes = Encode(spec, one);
    const double expected = MeanRelativeError(one.k, Decode(Parse(one_bytes)).k, head_dim);
    for (float scale : {1e-40f, 1e-38f, 1e-30f, 1e-10f, 1e10f, 1e30f, 1e37f}) {
      Kv kv = one;
      for (float& value : kv.k) value *= scale;
      for (float& value : kv.v) value *= scale;
      const std::vector<uint8_t> bytes = Encode(spec, kv);
      const Kv out = Decode(Parse(bytes));
      const double error = MeanRelativeError(kv.k, out.k, head_dim);
      // Output that is subnormal itself is rounded to 2^-149: (2^-149 / 1e-40)^2 is about 2e-10.
      constexpr double kSubnormalOutput = 1e-9;
      if (GetParam() == CodecId::kFp16) {
        EXPECT_LT(error, 0x1p-22 + kSubnormalOutput) << scale;  // 2^-11 of each coordinate
      } else {
        // Scaling by no power of two rounds each coordinate; a few cross a threshold, where either code errs alike.
        // Scales in steps of 1/64 octave are rounded elsewhere: .31 % in the root mean square, which moves a token's error by
        // twice that fraction of it, and by its square; six deviations of the mean of 65 tokens.
        constexpr double kThresholdCrossings = 1e-3, kScaleRounding = .0048, kScaleSquares = 1.3e-5;
        EXPECT_NEAR(error, expected, expected * (kThresholdCrossings + kScaleRounding) + kScaleSquares + kSubnormalOutput)
            << scale;
      }
    }
  }
}

TEST_P(DecodeAtScale, PowersOfTwoChangeNoCode) {
  const uint32_t seed = 51;
  SCOPED_TRACE(SeedText(seed));
  const BlockSpec spec = OneHead(testing::ForBothSides(GetParam()), 96, 64);
  const Kv one = GaussianKv(spec, seed);
  const std::vector<uint8_t> one_bytes = Encode(spec, one);
  const Kv expected = Decode(Parse(one_bytes));
  for (int power : {-100, -50, 50, 120}) {
    Kv kv = one;
    for (float& value : kv.k) value = std::ldexp(value, power);
    for (float& value : kv.v) value = std::ldexp(value, power);
    const std::vector<uint8_t> bytes = Encode(spec, kv);
    const Kv out = Decode(Parse(bytes));
    for (size_t i = 0; i < out.k.size(); ++i) {
      if (GetParam() != CodecId::kFp16) {
        // Sums that cancel may come out as subnormal numbers.
        ASSERT_NEAR(out.k[i], std::ldexp(expected.k[i], power), 0x1p-149) << power << " " << i;
        ASSERT_NEAR(out.v[i], std::ldexp(expected.v[i], power), 0x1p-149) << power << " " << i;
      } else {
        // Which halves are subnormal depends on the exponent: a few units of the smallest.
        ASSERT_NEAR(out.k[i], kv.k[i], std::ldexp(1.0, power) * (std::fabs(one.k[i]) * 0x1p-11 + 0x1p-24));
      }
    }
  }
}

TEST_P(DecodeAtScale, ZeroVectorsAreExactAmongOthers) {
  const BlockSpec spec = OneHead(testing::ForBothSides(GetParam()), 64, 70);
  Kv kv = GaussianKv(spec, 52);
  const auto clear = [&spec](std::vector<float>& x, uint32_t token) {
    std::fill_n(x.begin() + token * spec.head_dim, spec.head_dim, 0.0f);
  };
  for (uint32_t token : {3u, 64u}) {
    clear(kv.k, token);
    clear(kv.v, token);
  }
  const std::vector<uint8_t> bytes = Encode(spec, kv);
  const Kv out = Decode(Parse(bytes));
  for (uint32_t token : {3u, 64u}) {
    for (uint32_t j = 0; j < spec.head_dim; ++j) {
      // A polar pair's radii are one range: zero becomes the middle of its lowest bin.
      const double tolerance = IsPolarPair(GetParam()) ? 6.0 / (2 << PolarRadiusBits(GetParam())) : 0;
      EXPECT_NEAR(out.k[token * spec.head_dim + j], 0, tolerance);
      EXPECT_NEAR(out.v[token * spec.head_dim + j], 0, tolerance);
    }
  }
}

TEST_P(DecodeAtScale, AllZeroTensorsDecodeToZero) {
  const BlockSpec spec = OneHead(testing::ForBothSides(GetParam()), 80, 65);
  const Kv kv{std::vector<float>(65 * 80), std::vector<float>(65 * 80, -0.0f)};
  const std::vector<uint8_t> bytes = Encode(spec, kv);
  const Kv out = Decode(Parse(bytes));
  for (float value : out.k) EXPECT_EQ(value, 0);
  for (float value : out.v) EXPECT_EQ(value, 0);
}

TEST_P(DecodeAtScale, TheLargestFloatsDecodeToFiniteNumbers) {
  const BlockSpec spec = OneHead(testing::ForBothSides(GetParam()), 128, 64);
  Kv kv = GaussianKv(spec, 53);
  for (float& value : kv.k) value = std::copysign(std::numeric_limits<float>::max(), value);
  kv.v = kv.k;
  const std::vector<uint8_t> bytes = Encode(spec, kv);
  const Kv out = Decode(Parse(bytes));
  for (size_t i = 0; i < out.k.size(); ++i) {
    ASSERT_TRUE(std::isfinite(out.k[i]) && std::isfinite(out.v[i])) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, DecodeAtScale, ::testing::ValuesIn(testing::AllCodecsVector()),
                         testing::CodecParamName);

TEST(DecodeTurbo, AConstantVectorErrsLikeAnyOther) {
  for (CodecId codec : {CodecId::kTurbo1, CodecId::kTurbo2, CodecId::kTurbo3, CodecId::kTurbo4, CodecId::kTurbo5}) {
    const BlockSpec spec = OneHead(testing::ForBothSides(codec), 128, 1);
    const Kv kv{std::vector<float>(128, 3.7f), std::vector<float>(128, -0.2f)};
    const std::vector<uint8_t> bytes = Encode(spec, kv);
    const Kv out = Decode(Parse(bytes));
    EXPECT_LT(RelativeSquaredError(kv.k.data(), out.k.data(), 128), RotatedBound(codec, 1, 128));
    EXPECT_LT(RelativeSquaredError(kv.v.data(), out.v.data(), 128), RotatedBound(codec, 1, 128));
  }
}

TEST(DecodeTurbo, ATokenDoesNotDependOnTheOthersOfItsTile) {
  for (CodecId codec : {CodecId::kTurbo1, CodecId::kTurbo2, CodecId::kTurbo3, CodecId::kTurbo4, CodecId::kTurbo5}) {
    for (uint32_t head_dim : kHeadDims) {
      const BlockSpec spec = OneHead(testing::ForBothSides(codec), head_dim, 64);
      Kv kv = GaussianKv(spec, 8);
      const std::vector<uint8_t> bytes = Encode(spec, kv);
      const Kv all = Decode(Parse(bytes));
      std::fill(kv.k.begin() + head_dim, kv.k.end(), 0.0f);
      std::fill(kv.v.begin() + head_dim, kv.v.end(), 0.0f);
      const std::vector<uint8_t> first_bytes = Encode(spec, kv);
      const Kv first = Decode(Parse(first_bytes));
      // The scales' base may differ, not the scale that it makes of the token's code.
      for (uint32_t j = 0; j < head_dim; ++j) {
        ASSERT_EQ(all.k[j], first.k[j]) << head_dim << " " << j;
        ASSERT_EQ(all.v[j], first.v[j]) << head_dim << " " << j;
      }
    }
  }
}

TEST(DecodeTurbo, KeysKeepTheirProjectionAndValuesTheirNorm) {
  const uint32_t seed = 54;
  SCOPED_TRACE(SeedText(seed));
  // Half a step of 1/64 octave; coordinates rounded to integers.
  const double kScaleRounding = std::exp2(.5 / kScaleStepsPerOctave) - 1 + 5e-4;
  for (CodecId codec : {CodecId::kTurbo1, CodecId::kTurbo2, CodecId::kTurbo3, CodecId::kTurbo4, CodecId::kTurbo5}) {
    const BlockSpec spec = OneHead(testing::ForBothSides(codec), 96, 200);
    const Kv kv = GaussianKv(spec, seed);
    const std::vector<uint8_t> bytes = Encode(spec, kv);
    const Kv out = Decode(Parse(bytes));
    for (size_t i = 0; i < kv.k.size(); i += 96) {
      EXPECT_NEAR(Dot(&kv.k[i], &out.k[i], 96) / Dot(&kv.k[i], &kv.k[i], 96), 1, kScaleRounding);
      EXPECT_NEAR(std::sqrt(Dot(&out.v[i], &out.v[i], 96) / Dot(&kv.v[i], &kv.v[i], 96)), 1, kScaleRounding);
    }
  }
}

TEST(DecodeHalves, PassesHalvesBitByBit) {
  const BlockSpec spec = OneHead({CodecId::kFp16, CodecId::kFp16}, 64, 64);
  Kv kv = GaussianKv(spec, 55);
  for (std::vector<float>* x : {&kv.k, &kv.v}) {
    for (float& value : *x) value = HalfToFloat(FloatToHalf(value * 100));
  }
  kv.k[5] = 0x1p-24f;
  kv.v[6] = -65504;
  const std::vector<uint8_t> bytes = Encode(spec, kv);
  const Kv out = Decode(Parse(bytes));
  EXPECT_EQ(out.k, kv.k);
  EXPECT_EQ(out.v, kv.v);
}

}  // namespace
}  // namespace polarkv
