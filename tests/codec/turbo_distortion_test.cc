// The measured quality of rotated codes against theory: distortion of the direction, and unbiased inner products.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "codec/rotation.h"
#include "codec/tile_matrix.h"
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
using testing::SeedText;

// The normalised rotation of x by its definition, in double.
std::vector<double> Rotate(const float* x, uint32_t head_dim, uint64_t seed) {
  const auto signs = RotationSigns(seed);
  std::vector<double> y(head_dim);
  for (uint32_t j = 0; j < head_dim; ++j) y[j] = double{x[j]} * signs[j];
  HadamardBlocks(y.data(), head_dim, RotationBlock(head_dim), 1);
  for (double& value : y) value /= std::sqrt(static_cast<double>(RotationBlock(head_dim)));
  return y;
}

// D_mse: mean squared distance of u = R x / |x| from the code's unit vector image / (unit sqrt(d)), over all keys of a
// block. This is the distortion of the direction alone; no stored scale takes part.
double DirectionDistortion(const BlockView& block, const std::vector<float>& keys) {
  const BlockSpec& spec = block.spec();
  TileMatrixReader reader(KvSide::kKey, spec.head_dim);
  const auto matrix = std::make_unique<TileMatrix>();
  double sum = 0;
  for (uint32_t token = 0; token < spec.tokens; ++token) {
    const uint32_t tile = token / kTileTokens;
    const TilePart part = FindTilePart(block, KvSide::kKey, 0, 0, tile);
    if (token % kTileTokens == 0) reader.Read(part, spec.rope, *matrix);
    const double unit = TurboCodebookFor(part.codec, part.bits).unit * std::sqrt(static_cast<double>(spec.head_dim));
    const float* key = &keys[size_t{token} * spec.head_dim];
    const std::vector<double> y = Rotate(key, spec.head_dim, spec.rotation_seed);
    const double norm = std::sqrt(Dot(key, key, spec.head_dim));
    for (uint32_t j = 0; j < spec.head_dim; ++j) {
      const double error = y[j] / norm - matrix->value[j * kTileTokens + token % kTileTokens] / unit;
      sum += error * error;
    }
  }
  return sum / spec.tokens;
}

struct Theory {
  CodecId codec;
  uint32_t head_dim;
  double distortion;  // of an optimal scalar quantizer of a coordinate of a random unit vector, times head_dim
};

class TurboDistortion : public ::testing::TestWithParam<Theory> {};

TEST_P(TurboDistortion, IsWithinOnePerCentOfTheory) {
  const uint32_t seed = 300;
  SCOPED_TRACE(SeedText(seed));
  const BlockSpec spec = OneHead({GetParam().codec, GetParam().codec}, GetParam().head_dim, 16384);
  const Kv kv = GaussianKv(spec, seed);
  const std::vector<uint8_t> bytes = Encode(spec, kv, testing::kCodesAlone);
  const double measured = DirectionDistortion(Parse(bytes), kv.k);
  // A million coordinates or more: the sample's own deviation is .15 %.
  EXPECT_NEAR(measured / GetParam().distortion, 1, .01) << measured;
  RecordProperty("distortion", std::to_string(measured));
}

INSTANTIATE_TEST_SUITE_P(CodecsAndDims, TurboDistortion,
                         ::testing::Values(Theory{CodecId::kTurbo1, 64, .35839}, Theory{CodecId::kTurbo1, 128, .36089},
                                           Theory{CodecId::kTurbo2, 64, .11453}, Theory{CodecId::kTurbo3, 64, .03339},
                                           Theory{CodecId::kTurbo4, 64, .00913}, Theory{CodecId::kTurbo2, 128, .11600},
                                           Theory{CodecId::kTurbo3, 128, .03397},
                                           Theory{CodecId::kTurbo4, 128, .00932}),
                         [](const auto& test) {
                           return std::string(CodecName(test.param.codec)) + "_d" + std::to_string(test.param.head_dim);
                         });

struct InnerProducts {
  CodecId codec;
  double error;  // d * E[err^2] of unit vectors, d = 128
};

class CodecInnerProducts : public ::testing::TestWithParam<InnerProducts> {};

TEST_P(CodecInnerProducts, AreUnbiasedAndAsExactAsTheory) {
  constexpr uint32_t kHeadDim = 128, kKeys = 8192, kQueries = 64;
  const uint32_t seed = 400;
  SCOPED_TRACE(SeedText(seed));
  const BlockSpec spec = OneHead({GetParam().codec, CodecId::kTurbo2}, kHeadDim, kKeys);
  const Kv kv = GaussianKv(spec, seed);
  const std::vector<uint8_t> bytes = Encode(spec, kv, testing::kCodesAlone);
  const Kv out = Decode(Parse(bytes));
  const std::vector<float> queries = Gaussian(kQueries * kHeadDim, seed + 2);
  double product = 0, square = 0, error = 0;
  for (uint32_t k = 0; k < kKeys; ++k) {
    const float* key = &kv.k[k * kHeadDim];
    const double key_norm = std::sqrt(Dot(key, key, kHeadDim));
    for (uint32_t q = 0; q < kQueries; ++q) {
      const float* query = &queries[q * kHeadDim];
      const double norms = key_norm * std::sqrt(Dot(query, query, kHeadDim));
      const double exact = Dot(query, key, kHeadDim) / norms;
      const double read = Dot(query, &out.k[k * kHeadDim], kHeadDim) / norms;
      product += exact * read;
      square += exact * exact;
      error += (exact - read) * (exact - read);
    }
  }
  const double scaled_error = error * kHeadDim / (kKeys * kQueries);
  // Half a million pairs: the slope's standard deviation is sqrt(d E[err^2] / pairs), .001 at worst.
  EXPECT_NEAR(product / square, 1, .002);
  EXPECT_LT(scaled_error, GetParam().error * 1.05);
  RecordProperty("slope", std::to_string(product / square));
  RecordProperty("scaled_error", std::to_string(scaled_error));
}

// Under the unbiased scale the error vector is orthogonal to the key and tan^2 of the angle between key and code long:
// D / (1 - D) in the mean, all of which a query independent of the key meets.
INSTANTIATE_TEST_SUITE_P(
    Codecs, CodecInnerProducts,
    ::testing::Values(InnerProducts{CodecId::kTurbo1, .5646}, InnerProducts{CodecId::kTurbo2, .1312},
                      InnerProducts{CodecId::kTurbo3, .0352}, InnerProducts{CodecId::kTurbo4, .0094},
                      InnerProducts{CodecId::kTurbo5, .00255}, InnerProducts{CodecId::kTrellis1, .434},
                      InnerProducts{CodecId::kTrellis2, .0977}, InnerProducts{CodecId::kTrellis3, .0281}),
    [](const auto& test) { return std::string(CodecName(test.param.codec)); });

}  // namespace
}  // namespace polarkv
