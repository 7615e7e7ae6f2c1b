// The integer codebooks against Lloyd-Max theory, by integrals of the normal density in closed form.
#include "codec/turbo_codebook.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "codec/lane_vectors.h"

namespace polarkv {
namespace {

// Positive thresholds of the Lloyd-Max quantizers of N(0,1) (Max 1960), and their mean squared errors.
const std::vector<double> kThresholds2 = {.981599};
const std::vector<double> kThresholds3 = {.500550, 1.049957, 1.747927};
const std::vector<double> kThresholds4 = {.258222, .522404, .799550, 1.099286, 1.437139, 1.843532, 2.400803};
const std::vector<double> kThresholds5 = {.131971,  .264715,  .399039,  .535817,  .676035,  .820850,  .971674, 1.130294,
                                          1.299072, 1.481284, 1.681731, 1.907981, 2.173234, 2.504429, 2.975926};
const std::vector<double> kCentroids2 = {.452780, 1.510418};
const std::vector<double> kCentroids3 = {.245094, .756005, 1.343909, 2.151946};
const std::vector<double> kCentroids4 = {.128395, .388048, .656759, .942340, 1.256231, 1.618046, 2.069017, 2.732590};

double Density(double z) { return std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi); }
double UpperTail(double z) { return std::erfc(z / std::numbers::sqrt2) / 2; }

// For each level of |z|: its probability, and the expectation of |z| on it.
struct Levels {
  std::vector<double> probability, moment;
};

Levels LevelsOf(const std::vector<double>& thresholds) {
  Levels levels;
  for (size_t m = 0; m <= thresholds.size(); ++m) {
    const double low = m == 0 ? 0 : thresholds[m - 1];
    const bool last = m == thresholds.size();
    levels.probability.push_back(2 * (UpperTail(low) - (last ? 0 : UpperTail(thresholds[m]))));
    levels.moment.push_back(2 * (Density(low) - (last ? 0 : Density(thresholds[m]))));
  }
  return levels;
}

Levels Merge(const Levels& levels, size_t count) {
  Levels merged;
  for (size_t m = 0; m < levels.probability.size(); m += count) {
    merged.probability.push_back(0);
    merged.moment.push_back(0);
    for (size_t i = m; i < m + count; ++i) {
      merged.probability.back() += levels.probability[i];
      merged.moment.back() += levels.moment[i];
    }
  }
  return merged;
}

double MeanSquaredError(const Levels& levels, const std::vector<double>& values) {
  double error = 1;
  for (size_t m = 0; m < values.size(); ++m) {
    error += values[m] * (values[m] * levels.probability[m] - 2 * levels.moment[m]);
  }
  return error;
}

// With the unit that is best for these images.
double BestError(const Levels& levels, const std::vector<double>& images) {
  double square = 0, product = 0;
  for (size_t m = 0; m < images.size(); ++m) {
    square += images[m] * images[m] * levels.probability[m];
    product += images[m] * levels.moment[m];
  }
  return 1 - product * product / square;
}

std::vector<double> Images(const TurboCodebook& book) {
  const uint32_t half = (1u << book.bits) / 2;
  std::vector<double> images;
  for (uint32_t m = 0; m < half; ++m) images.push_back(book.image[half + m]);
  return images;
}

std::vector<double> Values(const TurboCodebook& book) {
  std::vector<double> values = Images(book);
  for (double& value : values) value /= double{book.unit};
  return values;
}

// The encoder's, in standard deviations.
template <uint32_t kBits>
std::vector<double> Thresholds() {
  std::vector<double> thresholds;
  for (const int threshold : TurboThresholds<kBits>()) thresholds.push_back(static_cast<double>(threshold) / kRotatedDeviation);
  return thresholds;
}

TEST(TurboCodebook, CodesAscendWithTheirImagesAndAreSymmetric) {
  for (const TurboCodebook& book :
       {kTurbo1, kTurbo2, kTurbo3, kTurbo4, kTurbo5, kTurbo3As2, kTurbo4As2, kTurbo4As3, kTurbo5As3, kTurbo5As4}) {
    const uint32_t codes = 1u << book.bits;
    for (uint32_t c = 0; c < codes; ++c) {
      EXPECT_EQ(book.image[c], -book.image[codes - 1 - c]);
      if (c > 0) {
        EXPECT_GT(book.image[c], book.image[c - 1]);
      }
    }
  }
}

TEST(TurboCodebook, ImagesAreTheLloydMaxCentroidsToTheNearestUnit) {
  // Half a unit, plus what the thresholds of a table move the centroids at 4 bits (at most .013 = .6 unit, by
  // integration).
  const auto check = [](const TurboCodebook& book, const std::vector<double>& centroids, double tolerance) {
    for (size_t m = 0; m < centroids.size(); ++m) {
      EXPECT_NEAR(Images(book)[m], centroids[m] * book.unit, tolerance) << book.bits << " bits, level " << m;
    }
  };
  check(kTurbo2, kCentroids2, .5);
  check(kTurbo3, kCentroids3, .5);
  check(kTurbo4, kCentroids4, 1.1);
  check(kTurbo1, {.797885}, .5);
}

TEST(TurboCodebook, EncoderThresholdsAreLloydMaxOrCloseToIt) {
  // In steps of the table, or of the rotated integers.
  const auto check = [](const std::vector<double>& ours, const std::vector<double>& optimal, double tolerance) {
    for (size_t m = 0; m < optimal.size(); ++m) EXPECT_NEAR(ours[m], optimal[m], tolerance) << m;
  };
  check(Thresholds<2>(), kThresholds2, 16.5 / kRotatedDeviation);
  check(Thresholds<3>(), kThresholds3, 16.5 / kRotatedDeviation);
  check(Thresholds<4>(), kThresholds4, 32.0 / kRotatedDeviation);
  check(Thresholds<5>(), kThresholds5, .51 / kRotatedDeviation);
  for (const int threshold : TurboThresholds<4>()) EXPECT_EQ(threshold % 32, 0);
}

TEST(TurboCodebook, MeanSquaredErrorIsWithinTwoPerMilleOfLloydMax) {
  EXPECT_LT(MeanSquaredError(LevelsOf(Thresholds<2>()), Values(kTurbo2)), .117482 * 1.00001);
  EXPECT_LT(MeanSquaredError(LevelsOf(Thresholds<3>()), Values(kTurbo3)), .034548 * 1.0005);
  EXPECT_LT(MeanSquaredError(LevelsOf(Thresholds<4>()), Values(kTurbo4)), .009501 * 1.0021);
  EXPECT_LT(MeanSquaredError(LevelsOf({}), Values(kTurbo1)), .363380 * 1.00001);
  // Sixteen levels in 118 steps of an int8 image: a per cent and a half.
  EXPECT_LT(MeanSquaredError(LevelsOf(Thresholds<5>()), Values(kTurbo5)), .002505 * 1.015);
}

TEST(TurboCodebook, MergedLevelsAreWithinTwoPerMilleOfTheirCentroids) {
  const auto best = [](const Levels& levels) {
    std::vector<double> centroids;
    for (size_t m = 0; m < levels.moment.size(); ++m) centroids.push_back(levels.moment[m] / levels.probability[m]);
    return MeanSquaredError(levels, centroids);
  };
  const Levels three_as_two = Merge(LevelsOf(Thresholds<3>()), 2);
  EXPECT_LT(MeanSquaredError(three_as_two, Values(kTurbo3As2)), best(three_as_two) * 1.002);
  const Levels four_as_three = Merge(LevelsOf(Thresholds<4>()), 2);
  EXPECT_LT(MeanSquaredError(four_as_three, Values(kTurbo4As3)), best(four_as_three) * 1.002);
  const Levels five_as_four = Merge(LevelsOf(Thresholds<5>()), 2), five_as_three = Merge(LevelsOf(Thresholds<5>()), 4);
  EXPECT_LT(MeanSquaredError(five_as_four, Values(kTurbo5As4)), best(five_as_four) * 1.01);
  EXPECT_LT(MeanSquaredError(five_as_three, Values(kTurbo5As3)), best(five_as_three) * 1.004);
  const Levels four_as_two = Merge(LevelsOf(Thresholds<4>()), 4);
  EXPECT_LT(MeanSquaredError(four_as_two, Values(kTurbo4As2)), best(four_as_two) * 1.002);
}

TEST(TurboCodebook, NoOtherSmallIntegersDoBetterAtTwoBits) {
  const Levels levels = LevelsOf(kThresholds2);
  const double chosen = BestError(levels, Images(kTurbo2));
  for (int high = 2; high <= 127; ++high) {
    for (int low = 1; low < high; ++low) {
      EXPECT_GE(BestError(levels, {double(low), double(high)}), chosen * (1 - 1e-12)) << low << " " << high;
    }
  }
}

TEST(TurboCodebook, NoOtherSmallIntegersDoBetterAtThreeBits) {
  // For each largest image, the others near their centroids' ratios.
  const Levels levels = LevelsOf(kThresholds3);
  const double chosen = BestError(levels, Images(kTurbo3));
  for (int top = 8; top <= 127; ++top) {
    const auto near = [&](size_t m, int offset) { return std::floor(kCentroids3[m] * top / kCentroids3[3]) + offset; };
    for (int i = 0; i < 4 * 4 * 4; ++i) {
      const std::vector<double> images = {near(0, i % 4 - 1), near(1, i / 4 % 4 - 1), near(2, i / 16 - 1), double(top)};
      if (images[0] < 1) continue;
      EXPECT_GE(BestError(levels, images), chosen * (1 - 1e-12)) << images[0] << " " << images[1] << " " << images[2];
    }
  }
}

}  // namespace
}  // namespace polarkv
