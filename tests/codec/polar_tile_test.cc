#include "codec/polar_tile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "codec/half_float.h"
#include "codec/polar_coordinates.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Gaussian;
using testing::SeedText;

constexpr double kPi = std::numbers::pi;
constexpr uint32_t kDim = 64;
constexpr uint32_t kPairs = kDim / 2;

// A tile encoded and read back. Without RoPE pair p is (p, p + 32).
struct Tile {
  std::vector<float> rows;
  std::vector<uint8_t> payload;
  int exponent = 0;

  explicit Tile(std::vector<float> x) : rows(std::move(x)), payload(kPairs * (sizeof(PolarParameters) + kTileTokens)) {
    exponent = EncodePolarTile({4, 4}, rows.data(), tokens(), kDim, Rope{}, payload.data());
  }
  uint32_t tokens() const { return static_cast<uint32_t>(rows.size() / kDim); }
  double Decoded(uint32_t token, uint32_t pair, bool second) const {
    PolarPair polar;
    ReadPolarPair({4, 4}, payload.data(), kDim, pair, polar);
    const uint8_t code = polar.codes[token];
    const double direction = second ? polar.sine[code & 15] : polar.cosine[code & 15];
    return std::ldexp(polar.radius[code >> 4] * direction, exponent);
  }
  double Error(uint32_t token, uint32_t pair) const {
    return std::hypot(Decoded(token, pair, false) - rows[token * kDim + pair],
                      Decoded(token, pair, true) - rows[token * kDim + pair + kPairs]);
  }
  PolarParameters Parameters(uint32_t pair) const {
    PolarParameters parameters;
    std::memcpy(&parameters, payload.data() + pair * sizeof parameters, sizeof parameters);
    return parameters;
  }
};

// Tokens whose pairs all have the angles (in radians) and radii given.
Tile FromPolar(const std::vector<double>& angles, const std::vector<double>& radii) {
  std::vector<float> rows(angles.size() * kDim);
  for (size_t t = 0; t < angles.size(); ++t) {
    for (uint32_t p = 0; p < kPairs; ++p) {
      rows[t * kDim + p] = static_cast<float>(radii[t] * std::cos(angles[t]));
      rows[t * kDim + p + kPairs] = static_cast<float>(radii[t] * std::sin(angles[t]));
    }
  }
  return Tile(std::move(rows));
}

// Rounding in fp16 of radius_min and radius_step, 2^-12 and at most 2^-11 / 16 of the radius, and fp32 arithmetic.
constexpr double kRounding = 0x1p-11;

TEST(PolarAngle, AgreesWithArctangentAllAround) {
  // 2e-8 of the published polynomial and some fp32 roundings of the angle in units of 1/65536 turn.
  constexpr double kTolerance = 1e-6;
  for (int i = 0; i < 100000; ++i) {
    const double exact = i * (2 * kPi / 100000) + 1e-5;
    const float x = static_cast<float>(std::cos(exact)), y = static_cast<float>(std::sin(exact));
    double expected = std::atan2(double{y}, double{x});
    if (expected < 0) expected += 2 * kPi;
    ASSERT_NEAR(PolarAngle(x, y) * (2 * kPi / kTurn), expected, kTolerance) << i;
  }
}

TEST(PolarAngle, IsExactOnTheAxesAndNeverAFullTurn) {
  EXPECT_EQ(PolarAngle(0, 0), 0);
  EXPECT_EQ(PolarAngle(-0.0f, -0.0f), 0);
  EXPECT_EQ(PolarAngle(3, 0), 0);
  EXPECT_EQ(PolarAngle(0, 3), kTurn / 4);
  EXPECT_EQ(PolarAngle(-3, 0), kTurn / 2);
  EXPECT_EQ(PolarAngle(0, -3), kTurn * 3 / 4);
  EXPECT_EQ(PolarAngle(1, -1e-30f), 0);
}

TEST(PolarDirection, IsTheCosineAndSineRoundedToFloat) {
  const long double unit = 2 * std::numbers::pi_v<long double> / 65536;
  for (uint32_t i = 0; i < 200000; ++i) {
    const double angle = i * 5.3671875 + i % 16 * 0x1p-20;  // sixteen turns and more, exact in double
    const Direction direction = DirectionOf(angle);
    ASSERT_EQ(direction.cosine, static_cast<float>(std::cos(angle * unit))) << angle;
    ASSERT_EQ(direction.sine, static_cast<float>(std::sin(angle * unit))) << angle;
  }
}

TEST(PolarDirection, IsExactOnTheAxes) {
  for (int turn = 0; turn < 20; ++turn) {
    const float expected[4][2] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
    for (int quarter = 0; quarter < 4; ++quarter) {
      const Direction direction = DirectionOf(65536.0 * turn + 16384.0 * quarter);
      EXPECT_EQ(direction.cosine, expected[quarter][0]);
      EXPECT_EQ(direction.sine, expected[quarter][1]);
    }
  }
}

TEST(PolarPairs, FollowRope) {
  const auto expect = [](Rope rope, uint32_t pair, uint32_t first, uint32_t second) {
    const CoordinatePair p = PairOf(rope, 128, pair);
    EXPECT_EQ(p.first, first);
    EXPECT_EQ(p.second, second);
  };
  expect({}, 5, 5, 69);
  expect({RopePairing::kHalf, 1e4f, 128}, 5, 5, 69);
  expect({RopePairing::kInterleaved, 1e4f, 128}, 5, 10, 11);
  expect({RopePairing::kHalf, 1e4f, 32}, 5, 5, 21);
  expect({RopePairing::kHalf, 1e4f, 32}, 16, 32, 80);
  expect({RopePairing::kInterleaved, 1e4f, 32}, 63, 79, 127);
}

TEST(PolarPairs, CoverEveryCoordinateOnce) {
  for (uint32_t dim : kHeadDims) {
    for (RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
      for (uint32_t dims : {dim, dim / 2, dim / 4}) {
        std::vector<int> used(dim);
        for (uint32_t p = 0; p < dim / 2; ++p) {
          const CoordinatePair pair = PairOf({pairing, 1e4f, static_cast<uint16_t>(dims)}, dim, p);
          ++used[pair.first];
          ++used[pair.second];
        }
        EXPECT_EQ(std::count(used.begin(), used.end(), 1), dim);
      }
    }
  }
}

TEST(PolarTile, AnglesOnBothSidesOfZeroStayTogether) {
  // .02 radians on each side of 0: 16 bins of .0025, not of a full circle's .39.
  std::vector<double> angles, radii;
  for (int t = 0; t < 64; ++t) {
    angles.push_back((t - 31.5) * (.04 / 63));
    radii.push_back(1);
  }
  const Tile tile = FromPolar(angles, radii);
  for (uint32_t t = 0; t < 64; ++t) EXPECT_LT(tile.Error(t, 3), .04 / 32 * 1.1 + kRounding) << t;
}

TEST(PolarTile, ASpreadOverTheWholeCircleStillFits) {
  std::vector<double> angles, radii;
  for (int t = 0; t < 64; ++t) {
    angles.push_back(t * (2 * kPi / 64) + .01);
    radii.push_back(5);
  }
  const Tile tile = FromPolar(angles, radii);
  for (uint32_t t = 0; t < 64; ++t) EXPECT_LT(tile.Error(t, 0), 5 * (kPi / 16 + kRounding)) << t;
}

TEST(PolarTile, AConstantRadiusIsKeptToHalfPrecision) {
  std::vector<double> angles, radii;
  for (int t = 0; t < 64; ++t) {
    angles.push_back(1 + t * 1e-3);
    radii.push_back(.7123);
  }
  const Tile tile = FromPolar(angles, radii);
  for (uint32_t t = 0; t < 64; ++t) {
    EXPECT_NEAR(std::hypot(tile.Decoded(t, 1, false), tile.Decoded(t, 1, true)), .7123, .7123 * kRounding) << t;
  }
}

TEST(PolarTile, ASingleTokenIsKeptToHalfPrecision) {
  const uint32_t seed = 3;
  SCOPED_TRACE(SeedText(seed));
  const Tile tile(Gaussian(kDim, seed));
  // The angle's minimum is rounded to 1/65536 turn, then 16 bins reach over the rest of it.
  constexpr double kAngleUnit = 2 * kPi / kTurn;
  for (uint32_t p = 0; p < kPairs; ++p) {
    const double radius = std::hypot(tile.rows[p], tile.rows[p + kPairs]);
    EXPECT_LT(tile.Error(0, p), radius * (kRounding + kAngleUnit)) << p;
  }
}

TEST(PolarTile, ZeroVectorsDecodeToZeroWhereAllAreZero) {
  const Tile tile(std::vector<float>(10 * kDim, 0.0f));
  EXPECT_EQ(tile.exponent, 0);
  for (uint8_t byte : tile.payload) EXPECT_EQ(byte, 0);
}

TEST(PolarTile, AZeroVectorDoesNotWidenTheAnglesOfOthers) {
  std::vector<double> angles(64, 2.0), radii(64, 1.0);
  for (int t = 0; t < 64; ++t) angles[t] += t * 1e-3;
  radii[7] = 0;
  const PolarParameters parameters = FromPolar(angles, radii).Parameters(0);
  EXPECT_NEAR(HalfToFloat(parameters.angle_step) * 16, .063 * kTurn / (2 * kPi), 2);
}

TEST(PolarTile, ErrorsAreBoundedByHalfABinOfAngleAndRadius) {
  const uint32_t seed = 20;
  SCOPED_TRACE(SeedText(seed));
  for (uint32_t round = 0; round < 20; ++round) {
    const Tile tile(Gaussian(kTileTokens * kDim, seed + round));
    for (uint32_t p = 0; p < kPairs; ++p) {
      const PolarParameters parameters = tile.Parameters(p);
      const double angle_step = HalfToFloat(parameters.angle_step) * (2 * kPi / kTurn);
      const double radius_step = std::ldexp(HalfToFloat(parameters.radius_step), tile.exponent);
      EXPECT_LE(angle_step, 2 * kPi / 16 * 1.001);
      for (uint32_t t = 0; t < kTileTokens; ++t) {
        const double radius = std::hypot(tile.rows[t * kDim + p], tile.rows[t * kDim + p + kPairs]);
        // Both ends of a chord of angle_step / 2 at the larger radius, then along the radius.
        const double bound = radius_step / 2 + (radius + radius_step / 2) * angle_step / 2 + radius * kRounding;
        ASSERT_LE(tile.Error(t, p), bound) << p << " " << t;
      }
    }
  }
}

// FORMAT.md's arithmetic for one pair, written out once more with a sort.
struct ByTheText {
  PolarParameters parameters{};
  std::vector<uint8_t> codes;

  ByTheText(const std::vector<float>& x, const std::vector<float>& y) {
    const size_t count = x.size();
    std::vector<float> angles, radii, sorted;
    for (size_t t = 0; t < count; ++t) {
      angles.push_back(PolarAngle(x[t], y[t]));
      radii.push_back(std::sqrt(std::fma(x[t], x[t], y[t] * y[t])));
      if (radii[t] > 0) sorted.push_back(angles[t]);
    }
    std::sort(sorted.begin(), sorted.end());
    float start = 0, widest = -1;
    for (size_t i = 0; i < sorted.size(); ++i) {
      const float gap = i == 0 ? sorted[0] - (sorted.back() - 65536.0f) : sorted[i] - sorted[i - 1];
      if (gap > widest) start = sorted[i];
      widest = std::max(widest, gap);
    }
    parameters.angle_min = static_cast<uint16_t>(std::floor(start));
    for (size_t t = 0; t < count; ++t) {
      const float unwrapped = angles[t] < start ? angles[t] + 65536.0f : angles[t];
      angles[t] = radii[t] > 0 ? unwrapped - parameters.angle_min : 0;
    }
    const auto step_for = [](float range) { return range > 0 ? FloatToHalfUp(range / 16) : uint16_t{0}; };
    parameters.angle_step = step_for(*std::max_element(angles.begin(), angles.end()));
    parameters.radius_min = FloatToHalf(*std::min_element(radii.begin(), radii.end()));
    const float low = HalfToFloat(parameters.radius_min);
    parameters.radius_step = step_for(*std::max_element(radii.begin(), radii.end()) - low);
    const auto bin = [](float offset, uint16_t step) {
      if (step == 0 || offset <= 0) return 0;
      return static_cast<int>(std::min(15.0f, std::floor(offset / HalfToFloat(step))));
    };
    for (size_t t = 0; t < count; ++t) {
      codes.push_back(static_cast<uint8_t>(bin(angles[t], parameters.angle_step) |
                                           bin(radii[t] - low, parameters.radius_step) << 4));
    }
  }
};

TEST(PolarTile, BitsAreThoseOfTheSpecification) {
  const uint32_t seed = 60;
  SCOPED_TRACE(SeedText(seed));
  for (uint32_t tokens : {1u, 2u, 40u, 63u, 64u}) {
    std::vector<float> rows = Gaussian(tokens * kDim, seed + tokens);
    for (uint32_t t = 0; t < tokens; ++t) {
      for (uint32_t p = 0; p < kPairs; ++p) {
        rows[t * kDim + p] += static_cast<float>(p);  // ever narrower arcs, across angle 0
        if (p % 7 == 0) rows[t * kDim + p + kPairs] *= 1e-3f;
        if (p % 5 == 0 && t % 3 == 0) rows[t * kDim + p] = rows[t * kDim + p + kPairs] = 0;
      }
    }
    const Tile tile(rows);
    for (uint32_t p = 0; p < kPairs; ++p) {
      std::vector<float> x, y;
      for (uint32_t t = 0; t < tokens; ++t) {
        x.push_back(std::ldexp(rows[t * kDim + p], -tile.exponent));
        y.push_back(std::ldexp(rows[t * kDim + p + kPairs], -tile.exponent));
      }
      const ByTheText expected(x, y);
      const PolarParameters parameters = tile.Parameters(p);
      EXPECT_EQ(std::memcmp(&parameters, &expected.parameters, sizeof parameters), 0) << "pair " << p;
      const uint8_t* codes = &tile.payload[kPairs * sizeof(PolarParameters) + p * kTileTokens];
      for (uint32_t t = 0; t < kTileTokens; ++t) {
        ASSERT_EQ(codes[t], t < tokens ? expected.codes[t] : 0) << "pair " << p << " token " << t;
      }
    }
  }
}

TEST(PolarTile, ScalingByAPowerOfTwoChangesTheExponentAlone) {
  const uint32_t seed = 40;
  SCOPED_TRACE(SeedText(seed));
  const std::vector<float> rows = Gaussian(kTileTokens * kDim, seed);
  const Tile tile(rows);
  for (int power : {-110, -60, 60, 120}) {
    std::vector<float> scaled = rows;
    for (float& value : scaled) value = std::ldexp(value, power);
    const Tile other(scaled);
    EXPECT_EQ(other.exponent, tile.exponent + power);
    EXPECT_EQ(other.payload, tile.payload);
  }
}

}  // namespace
}  // namespace polarkv
