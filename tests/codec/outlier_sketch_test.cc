// Sketches with outlier channels apart: unbiased, of the variance that their signs allow, and better where channels are large.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "codec/outlier_sketch.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Encode;
using testing::Gaussian;
using testing::Kv;
using testing::OneHead;
using testing::Parse;

constexpr CodecId kCodecs[] = {CodecId::kQjl1Outliers, CodecId::kQjl2Outliers, CodecId::kQjl4Outliers};
constexpr CodecId kPlain[] = {CodecId::kQjl1, CodecId::kQjl2, CodecId::kQjl4};
// 10 x in six channels, as in published key caches.
const std::set<uint32_t> kLarge = {3, 11, 17, 40, 41, 60};

BlockSpec Spec(CodecId codec, uint32_t head_dim, uint32_t tokens) {
  return OneHead({codec, CodecId::kTurbo1}, head_dim, tokens);
}

Kv OutlierKv(const BlockSpec& spec, uint32_t seed) {
  Kv kv = testing::GaussianKv(spec, seed);
  for (size_t i = 0; i < kv.k.size(); i += spec.head_dim) {
    for (const uint32_t channel : kLarge) kv.k[i + channel] *= 10;
  }
  return kv;
}

struct Scores {
  double slope;  // of scores read on scores
  double error;  // mean squared, over the queries' mean square coordinate
};

Scores ScoresOf(const BlockSpec& spec, const Kv& kv, bool independent) {
  const std::vector<uint8_t> bytes = Encode(spec, kv, testing::kCodesAlone);
  const Kv read = testing::Decode(Parse(bytes));
  const uint32_t d = spec.head_dim;
  double product = 0, square = 0, error = 0;
  const std::vector<float> noise = Gaussian(kv.k.size(), 31);
  for (size_t i = 0; i < kv.k.size(); i += d) {
    // Keys as queries show a bias best, N(0, I) the variance.
    const float* q = independent ? &noise[i] : &kv.k[i];
    const double exact = testing::Dot(q, &kv.k[i], d), found = testing::Dot(q, &read.k[i], d);
    product += exact * found;
    square += exact * exact;
    error += (exact - found) * (exact - found);
  }
  return {product / square, error * d / static_cast<double>(kv.k.size())};
}

class OutlierScores : public ::testing::TestWithParam<uint32_t> {};

TEST_P(OutlierScores, AreUnbiasedAndErrAsBothSketchesShould) {
  const uint32_t d = GetParam();
  for (int i = 0; i < 3; ++i) {
    const double m = 1 << i;
    const BlockSpec spec = Spec(kCodecs[i], d, 16384);
    const Kv kv = OutlierKv(spec, 32);
    EXPECT_NEAR(ScoresOf(spec, kv, false).slope, 1, .01) << m;
    const Scores scores = ScoresOf(spec, kv, true);
    // Signs in m orthonormal bases of n dimensions err by (pi/2 - 1) / m of the energy, evenly in n dimensions, of which 8
    // of 64 count for outliers, and all but 8 of d for inliers. The two largest inliers are among the outliers.
    const double inliers = d - 8, outliers = 600;
    const double expected = .5708 / m * (inliers * inliers / d + (outliers + 2 * 1.3) / 8);
    // Signs of several projections together do a little better than those of each.
    EXPECT_NEAR(scores.error / expected, .96, .1) << m;
    RecordProperty("error" + std::to_string(1 << i), std::to_string(scores.error));
  }
}

TEST_P(OutlierScores, ErrLessThanMoreSignsWithoutOutliersApart) {
  const uint32_t d = GetParam();
  for (int i = 0; i < 2; ++i) {
    const BlockSpec apart = Spec(kCodecs[i], d, 4096), together = Spec(kPlain[i + 1], d, 4096);
    const Kv kv = OutlierKv(apart, 33);
    EXPECT_LT(ScoresOf(apart, kv, true).error, .75 * ScoresOf(together, kv, true).error) << d;
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, OutlierScores, ::testing::ValuesIn(kHeadDims), ::testing::PrintToStringParamName());

TEST(OutlierSketch, ChannelsAreThoseOfEachGroup) {
  const BlockSpec spec = Spec(CodecId::kQjl1Outliers, 64, 64);
  Kv kv = testing::GaussianKv(spec, 34);
  for (uint32_t t = 0; t < 64; ++t) {
    for (uint32_t i = 0; i < 8; ++i) kv.k[t * 64 + (t < 32 ? 5 * i : 63 - 5 * i)] = t % 2 == 0 ? 30.0f : -30.0f;
  }
  const std::vector<uint8_t> bytes = Encode(spec, kv, testing::kCodesAlone);
  const BlockView block = Parse(bytes);
  OutlierHead head;
  std::memcpy(&head, block.Tile(0, PlaneKind::kBase, 0, 0).data() + block.layout().layer(0).base_tile.k_payload, sizeof head);
  for (uint32_t i = 0; i < 8; ++i) {
    EXPECT_EQ(head.channel[0][i], 5 * i);
    EXPECT_EQ(head.channel[1][i], 28 + 5 * i);
  }
}

TEST(OutlierSketch, KeysOfOutliersAloneOrOfNoneAreRead) {
  for (const CodecId codec : kCodecs) {
    const BlockSpec spec = Spec(codec, 96, 70);
    Kv kv = testing::GaussianKv(spec, 35);
    for (uint32_t t = 0; t < 70; ++t) {
      for (uint32_t j = 0; j < 96; ++j) kv.k[t * 96 + j] = j == 9 && t != 3 ? std::ldexp(1.0f, static_cast<int>(t)) : 0;
    }
    kv.k[64 * 96 + 50] = std::numeric_limits<float>::max();
    const std::vector<uint8_t> bytes = Encode(spec, kv, testing::kCodesAlone);
    const Kv read = testing::Decode(Parse(bytes));
    for (uint32_t t = 0; t < 64; ++t) {
      for (uint32_t j = 0; j < 96; ++j) {
        const float exact = kv.k[t * 96 + j];
        const double tolerance = t == 3 ? 0 : j == 9 ? .3 * exact : std::numeric_limits<float>::max();
        EXPECT_NEAR(read.k[t * 96 + j], exact, tolerance) << t << " " << j;
      }
    }
    for (const float x : read.k) EXPECT_TRUE(std::isfinite(x));
  }
}

TEST(OutlierSketch, MagnitudesDoNotMatter) {
  const BlockSpec spec = Spec(CodecId::kQjl2Outliers, 128, 64);
  const Kv kv = OutlierKv(spec, 36);
  const double expected = ScoresOf(spec, kv, true).error;
  for (const int power : {-100, 100}) {
    Kv scaled = kv;
    for (float& x : scaled.k) x = std::ldexp(x, power);
    EXPECT_NEAR(std::ldexp(ScoresOf(spec, scaled, true).error, -2 * power), expected, 1e-6 * expected);
  }
}

TEST(OutlierSketch, UncheckedPayloadsOfAnyBytesAreRead) {
  const BlockSpec spec = Spec(CodecId::kQjl1Outliers, 80, 40);
  std::vector<uint8_t> bytes = Encode(spec, testing::GaussianKv(spec, 37));
  const BlockLayout layout = Parse(bytes).layout();
  const uint64_t tile = layout.SegmentOffset(0, PlaneKind::kBase) + layout.TileOffset(0, PlaneKind::kBase, 0, 0);
  const uint64_t payload = tile + layout.layer(0).base_tile.k_payload;
  std::mt19937 random(38);
  for (int i = 0; i < 50; ++i) {
    for (uint32_t j = 0; j < 128; ++j) bytes[payload + j] = static_cast<uint8_t>(random());
    EXPECT_FALSE(BlockView::Parse(bytes, VerifyPayload::kYes).ok());
    testing::Decode(BlockView::Parse(bytes, VerifyPayload::kNo).value());
  }
}

}  // namespace
}  // namespace polarkv
