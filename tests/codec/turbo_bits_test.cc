// The turbo encoder against FORMAT.md's arithmetic written out once more, one vector at a time: the bits must agree.
// The program is built twice, with and without the hardware's fused multiply-add.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "codec/log_scale.h"
#include "codec/turbo_quantizer.h"
#include "codec/turbo_tile.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Gaussian;
using testing::SeedText;

struct Encoded {
  std::vector<uint8_t> codes;
  float mantissa = 0;
  int exponent = 0;
};

float Sum(const std::vector<float>& a, const std::vector<float>& b) {
  float p[32] = {};
  for (size_t i = 0; i < a.size(); ++i) p[i % 32] = std::fma(a[i], b[i], p[i % 32]);
  for (size_t stride : {1, 2, 4, 8, 16}) {
    float next[32];
    for (size_t j = 0; j < 32; ++j) next[j] = p[j] + p[j ^ stride];
    std::copy(next, next + 32, p);
  }
  return p[0];
}

int LevelOf(uint32_t bits, int y) {
  static const std::vector<int> kThresholds[] = {
      {},
      {1632},
      {832, 1760, 2912},
      {448, 896, 1344, 1856, 2400, 3072, 4000},
      {220, 440, 664, 892, 1125, 1366, 1617, 1881, 2162, 2465, 2798, 3175, 3616, 4167, 4952}};
  return static_cast<int>(std::ranges::count_if(kThresholds[bits - 1], [y](int t) { return t <= y; }));
}

int ImageOf(uint32_t bits, int level) {
  constexpr int kTwo[] = {9, 30}, kThree[] = {10, 31, 55, 88}, kFour[] = {6, 18, 30, 43, 57, 73, 93, 123};
  constexpr int kFive[] = {2, 7, 12, 17, 22, 27, 32, 38, 44, 50, 57, 65, 73, 84, 97, 118};
  return bits == 1 ? 64 : bits == 2 ? kTwo[level] : bits == 3 ? kThree[level] : bits == 4 ? kFour[level] : kFive[level];
}

Encoded EncodeByTheText(uint32_t bits, KvSide side, uint64_t rotation_seed, const std::vector<float>& x) {
  const size_t dim = x.size();
  const int half = 1 << (bits - 1);
  Encoded out;
  float largest = 0;
  for (float value : x) largest = std::max(largest, std::fabs(value));
  if (largest == 0) {
    out.codes.assign(dim, static_cast<uint8_t>(half));
    return out;
  }
  out.exponent = std::ilogb(largest);
  std::vector<float> y(dim);
  for (size_t j = 0; j < dim; ++j) y[j] = std::ldexp(x[j], -out.exponent);
  size_t block = 1;
  while (dim % (2 * block) == 0) block *= 2;
  const float n = std::sqrt(Sum(y, y));
  const float gain = static_cast<float>(1664 * std::sqrt(static_cast<double>(dim) / static_cast<double>(block))) / n;
  for (float& value : y) value = static_cast<float>(std::nearbyint(double{value} * gain));
  uint64_t state = rotation_seed, word = 0;
  for (size_t j = 0; j < dim; ++j) {
    if (j % 64 == 0) {
      state += 0x9E3779B97F4A7C15u;
      word = (state ^ state >> 30) * 0xBF58476D1CE4E5B9u;
      word = (word ^ word >> 27) * 0x94D049BB133111EBu;
      word ^= word >> 31;
    }
    if ((word >> j % 64 & 1) != 0) y[j] = -y[j];
  }
  for (size_t stride = 1; stride < block; stride *= 2) {
    for (size_t j = 0; j < dim; ++j) {
      if ((j & stride) != 0) continue;
      const float a = y[j], b = y[j + stride];
      y[j] = a + b;
      y[j + stride] = a - b;
    }
  }
  int64_t product = 0, square = 0;
  for (float value : y) {
    const int rotated = static_cast<int>(value);
    EXPECT_LE(std::abs(rotated), 32767);
    const int m = LevelOf(bits, rotated < 0 ? -1 - rotated : rotated);
    out.codes.push_back(static_cast<uint8_t>(rotated < 0 ? half - 1 - m : half + m));
    const int image = rotated < 0 ? -ImageOf(bits, m) : ImageOf(bits, m);
    product += rotated * image;
    square += image * image;
  }
  const float all = static_cast<float>(1664 * std::sqrt(static_cast<double>(dim)));
  out.mantissa = side == KvSide::kKey ? n * all / static_cast<float>(product) : n / std::sqrt(static_cast<float>(square));
  return out;
}

// Vectors that reach every branch: ordinary, tiny, huge, subnormal, zero, constant, one-hot, wide range.
std::vector<std::vector<float>> Vectors(uint32_t dim, uint32_t seed) {
  std::vector<std::vector<float>> vectors;
  for (float sigma : {1.0f, 3e-30f, 7e33f, 1e-39f, 3e-44f}) {
    for (uint32_t i = 0; i < 40; ++i) vectors.push_back(Gaussian(dim, seed++, sigma));
  }
  for (uint32_t i = 0; i < 20; ++i) {
    std::vector<float> wide = Gaussian(dim, seed++);
    for (uint32_t j = 0; j < dim; ++j) wide[j] *= std::ldexp(1.0f, static_cast<int>(j * (i + 1)) % 90 - 45);
    vectors.push_back(wide);
  }
  vectors.emplace_back(dim, 0.0f);
  vectors.emplace_back(dim, -0.0f);
  vectors.emplace_back(dim, 2.5f);
  vectors.emplace_back(dim, 3.4e38f);
  vectors.emplace_back(dim, 1e-45f);
  for (uint32_t j : {0u, dim / 2, dim - 1}) {
    vectors.emplace_back(dim, 0.0f);
    vectors.back()[j] = -1;
  }
  return vectors;
}

class TurboEncoderBits : public ::testing::TestWithParam<std::tuple<CodecId, KvSide, uint32_t>> {
 protected:
  static constexpr uint64_t kSeed = BlockSpec::kDefaultRotationSeed;
  CodecId codec_ = std::get<0>(GetParam());
  KvSide side_ = std::get<1>(GetParam());
  uint32_t dim_ = std::get<2>(GetParam());
};

TEST_P(TurboEncoderBits, AreThoseOfTheSpecification) {
  const uint32_t seed = 100;
  SCOPED_TRACE(SeedText(seed));
  const TurboQuantizer quantizer(codec_, side_, dim_, kSeed);
  const std::vector<std::vector<float>> vectors = Vectors(dim_, seed);
  for (size_t first = 0; first < vectors.size(); first += kQuantizerLanes) {
    QuantizerInput in;
    QuantizedVectors out;
    for (uint32_t j = 0; j < dim_; ++j) {
      for (uint32_t l = 0; l < kQuantizerLanes; ++l) in.x[j][l] = vectors[(first + l) % vectors.size()][j];
    }
    quantizer.Quantize(in, out);
    for (uint32_t l = 0; l < kQuantizerLanes; ++l) {
      const Encoded expected = EncodeByTheText(TurboBits(codec_), side_, kSeed, vectors[(first + l) % vectors.size()]);
      for (uint32_t j = 0; j < dim_; ++j) ASSERT_EQ(out.code[j][l], expected.codes[j]) << first + l << " " << j;
      ASSERT_EQ(out.mantissa[l], expected.mantissa) << first + l;
      ASSERT_EQ(out.exponent[l], expected.exponent) << first + l;
    }
  }
}

TEST_P(TurboEncoderBits, OfATileAreTheVectorsAndTheirScalesAsBytes) {
  const uint32_t seed = 200;
  SCOPED_TRACE(SeedText(seed));
  const TurboTileEncoder encoder(codec_, side_, dim_, kSeed);
  const CodeMatrix matrix(side_, dim_);
  constexpr uint32_t kSkipped = 5;
  for (uint32_t tokens : {1u, 17u, 63u, 64u}) {
    std::vector<float> rows;
    std::vector<Encoded> expected;
    int lowest = 100000, highest = -100000;
    for (uint32_t t = 0; t < tokens; ++t) {
      // Norms fall by 2^3 a token, so that the scales' steps are coarsened.
      const std::vector<float> row = Gaussian(dim_, seed + t, std::ldexp(1.0f, -3 * static_cast<int>(t % 16)));
      rows.insert(rows.end(), row.begin(), row.end());
      expected.push_back(EncodeByTheText(TurboBits(codec_), side_, kSeed, row));
      if (t == kSkipped) continue;
      lowest = std::min(lowest, ScaleStep(expected[t].mantissa, expected[t].exponent));
      highest = std::max(highest, ScaleStep(expected[t].mantissa, expected[t].exponent));
    }
    int shift = 0;
    const auto coarse = [&shift](int step) { return (step + (1 << shift) / 2) >> shift; };
    while (coarse(highest) - coarse(lowest) > 254) ++shift;
    std::vector<uint8_t> payload(matrix.size() * 3 / 8), refine1(matrix.size() / 8), refine0(matrix.size() / 8);
    std::vector<uint8_t> codes(matrix.size());
    uint8_t scales[kTileTokens] = {};
    const TilePlanes<uint8_t> planes = {payload.data(), refine1.data(), refine0.data(), nullptr};
    const ScaleRange range = encoder.Encode(rows.data(), tokens, ~(uint64_t{1} << kSkipped), planes, scales);
    EXPECT_EQ(range.base, coarse(highest) - 255);
    EXPECT_EQ(range.shift, shift);
    const CodePlanes<uint8_t> at = TurboCodePlanes(TurboBits(codec_), dim_, planes);
    matrix.Unpack(TurboBits(codec_), {at.crumbs, at.third, at.fourth, at.fifth}, codes.data());
    for (uint32_t t = 0; t < kTileTokens; ++t) {
      const bool counts = t < tokens && t != kSkipped;
      const int scale = counts ? coarse(ScaleStep(expected[t].mantissa, expected[t].exponent)) - range.base : 0;
      ASSERT_EQ(scales[t], scale) << t;
      for (uint32_t j = 0; j < dim_; ++j) {
        const uint8_t code = side_ == KvSide::kKey ? codes[j * kTileTokens + t] : codes[t * dim_ + j];
        ASSERT_EQ(code, counts ? expected[t].codes[j] : 0) << t << " " << j;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TurboEncoderBits,
                         ::testing::Combine(::testing::Values(CodecId::kTurbo1, CodecId::kTurbo2, CodecId::kTurbo3,
                                                              CodecId::kTurbo4, CodecId::kTurbo5),
                                            ::testing::Values(KvSide::kKey, KvSide::kValue),
                                            ::testing::ValuesIn(kHeadDims)),
                         [](const auto& test) {
                           return std::string(CodecName(std::get<0>(test.param))) +
                                  (std::get<1>(test.param) == KvSide::kKey ? "Keys" : "Values") +
                                  std::to_string(std::get<2>(test.param));
                         });

}  // namespace
}  // namespace polarkv
