// polar44 against the published PolarQuant (Wu et al., arXiv 2502.00527) at the same four and four bits, on the same
// data: keys without structure, and keys with a bias that RoPE has turned, which the method was made for. Ranges are over
// tiles of 64 tokens here and over groups of 128 there, which is 4.5 bits a coordinate against 4.25, parameters included.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "codec/polar_coordinates.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Decode;
using testing::Encode;
using testing::Gaussian;
using testing::Kv;
using testing::OneHead;
using testing::Parse;
using testing::SeedText;

constexpr uint32_t kHeadDim = 128, kTokens = 1024, kFirstPosition = 1000;
constexpr double kPi = std::numbers::pi;

// The published rule: groups of 128 tokens, angles in [0, 2 pi) without wrap-around, 16 bins of range / 16, floor,
// mid-bin; parameters in full precision.
class Range {
 public:
  void Add(double x) {
    low_ = std::min(low_, x);
    high_ = std::max(high_, x);
  }
  double Quantize(double x) const {
    const double step = (high_ - low_) / 16;
    return low_ + (std::clamp(std::floor((x - low_) / step), 0.0, 15.0) + .5) * step;
  }

 private:
  double low_ = 1e300, high_ = -1e300;
};

double PublishedError(const std::vector<float>& keys, const Rope& rope) {
  constexpr uint32_t kGroup = 128;
  double error = 0;
  for (uint32_t first = 0; first < kTokens; first += kGroup) {
    for (uint32_t p = 0; p < kHeadDim / 2; ++p) {
      const CoordinatePair pair = PairOf(rope, kHeadDim, p);
      Range angles, radii;
      std::vector<std::pair<double, double>> polar;
      for (uint32_t t = first; t < first + kGroup; ++t) {
        const double x = keys[t * kHeadDim + pair.first], y = keys[t * kHeadDim + pair.second];
        const double angle = std::atan2(y, x);
        polar.emplace_back(angle < 0 ? angle + 2 * kPi : angle, std::hypot(x, y));
        angles.Add(polar.back().first);
        radii.Add(polar.back().second);
      }
      for (uint32_t t = first; t < first + kGroup; ++t) {
        const double angle = angles.Quantize(polar[t - first].first), radius = radii.Quantize(polar[t - first].second);
        const double dx = radius * std::cos(angle) - keys[t * kHeadDim + pair.first];
        const double dy = radius * std::sin(angle) - keys[t * kHeadDim + pair.second];
        error += dx * dx + dy * dy;
      }
    }
  }
  return error;
}

double OurError(const std::vector<float>& keys, const Rope& rope) {
  BlockSpec spec = OneHead({CodecId::kPolar44, CodecId::kTurbo2}, kHeadDim, kTokens);
  spec.rope = rope;
  const std::vector<uint8_t> bytes = Encode(spec, {keys, std::vector<float>(keys.size())});
  const Kv out = Decode(Parse(bytes));
  double error = 0;
  for (size_t i = 0; i < keys.size(); ++i) error += (double{keys[i]} - out.k[i]) * (double{keys[i]} - out.k[i]);
  return error;
}

// Keys after RoPE: N(0,I) plus a bias of the given norm, shared by `biased` pairs with random phases.
std::vector<float> Keys(const Rope& rope, double bias, uint32_t biased, uint32_t seed) {
  std::vector<float> keys = Gaussian(kTokens * kHeadDim, seed);
  const std::vector<float> phases = Gaussian(kHeadDim / 2, seed + 1);
  for (uint32_t p = 0; p < kHeadDim / 2; ++p) {
    const bool has_bias = biased == kHeadDim / 2 || p % (kHeadDim / 2 / biased) == 3;
    const double size = has_bias ? bias / std::sqrt(static_cast<double>(biased)) : 0;
    const CoordinatePair pair = PairOf(rope, kHeadDim, p);
    const double frequency = rope.pairing == RopePairing::kNone ? 0 : std::pow(double{rope.base}, -2.0 * p / kHeadDim);
    for (uint32_t t = 0; t < kTokens; ++t) {
      float& x = keys[t * kHeadDim + pair.first];
      float& y = keys[t * kHeadDim + pair.second];
      const double angle = (kFirstPosition + t) * frequency;
      const double before_x = x + size * std::cos(phases[p] * 3), before_y = y + size * std::sin(phases[p] * 3);
      x = static_cast<float>(before_x * std::cos(angle) - before_y * std::sin(angle));
      y = static_cast<float>(before_x * std::sin(angle) + before_y * std::cos(angle));
    }
  }
  return keys;
}

class PolarAgainstPublished : public ::testing::TestWithParam<RopePairing> {};

TEST_P(PolarAgainstPublished, ErrsLessAtEveryBias) {
  const uint32_t seed = 700;
  SCOPED_TRACE(SeedText(seed));
  const bool rotated = GetParam() != RopePairing::kNone;
  const Rope rope = rotated ? Rope{GetParam(), 1e6f, kHeadDim} : Rope{};
  for (double bias : {0.0, 20.0, 120.0, 600.0}) {
    for (uint32_t biased : {4u, 64u}) {
      const std::vector<float> keys = Keys(rope, bias, biased, seed);
      const double ours = OurError(keys, rope), published = PublishedError(keys, rope);
      EXPECT_LT(ours, published) << "bias " << bias << " on " << biased << " pairs";
      RecordProperty("ratio_" + std::to_string(static_cast<int>(bias)) + "_" + std::to_string(biased),
                     std::to_string(ours / published));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Pairings, PolarAgainstPublished,
                         ::testing::Values(RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved),
                         [](const auto& test) {
                           return std::string(test.param == RopePairing::kNone   ? "none"
                                              : test.param == RopePairing::kHalf ? "half"
                                                                                 : "interleaved");
                         });

}  // namespace
}  // namespace polarkv
