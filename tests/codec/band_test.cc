// Keys in bands: what they gain from a spectrum, and that they lose nothing without one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "codec/band_planner.h"
#include "codec/polar_coordinates.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::Encode;
using testing::Gaussian;
using testing::Kv;
using testing::OneHead;
using testing::Parse;

constexpr CodecId kBanded[] = {CodecId::kBand2, CodecId::kBand2_5, CodecId::kBand3, CodecId::kBand4};
constexpr EncodeOptions kInBands = {KeyMeanPolicy::kNever, 0, false, BandPolicy::kAlways};

// Variances of the pairs run from `ratio` down to 1 / ratio by equal factors: 10 log10((ratio - 1 / ratio) / (2 ln ratio)) dB
// of coding gain for many pairs. Which pair has which is shuffled.
Kv WithSpectrum(const BlockSpec& spec, double ratio, uint32_t seed) {
  Kv kv = testing::GaussianKv(spec, seed);
  const uint32_t pairs = spec.head_dim / 2u;
  for (size_t i = 0; i < kv.k.size(); i += spec.head_dim) {
    for (uint32_t p = 0; p < pairs; ++p) {
      const double rank = p * 37 % pairs;
      const auto deviation = static_cast<float>(std::pow(ratio, .5 - rank / (pairs - 1)));
      const CoordinatePair pair = PairOf(spec.rope, spec.head_dim, p);
      kv.k[i + pair.first] *= deviation;
      kv.k[i + pair.second] *= deviation;
    }
  }
  return kv;
}

double KeyError(const BlockSpec& spec, const Kv& kv, const EncodeOptions& options = kInBands) {
  const std::vector<uint8_t> bytes = Encode(spec, kv, options);
  const Kv read = testing::Decode(Parse(bytes));
  return testing::RelativeSquaredError(kv.k.data(), read.k.data(), kv.k.size());
}

BlockSpec BandSpec(CodecId codec, uint32_t head_dim = 128, uint32_t tokens = 1024) {
  BlockSpec spec = OneHead({codec, CodecId::kTurbo1}, head_dim, tokens);
  spec.rope = {RopePairing::kHalf, 10000.0f, static_cast<uint16_t>(head_dim)};
  return spec;
}

TEST(Bands, CodesOfRingsOfSixteenErrAsTheEncoderReckons) {
  // With one deviation for all bands and a budget that is a multiple of theirs every band has the same codes.
  const double expected[] = {kBandDistortion[2], kBandDistortion[3], kBandDistortion[4]};
  const CodecId codecs[] = {CodecId::kBand2, CodecId::kBand3, CodecId::kBand4};
  for (int i = 0; i < 3; ++i) {
    const BlockSpec spec = BandSpec(codecs[i], 128, 2048);
    const double error = KeyError(spec, testing::GaussianKv(spec, 5));
    // Keys' scales are longer: D / (1 - D). On a sphere of 128 dimensions codes err one or two percent less.
    EXPECT_NEAR(error / (expected[i] / (1 - expected[i])), .98, .025) << CodecName(codecs[i]) << " " << error;
  }
}

TEST(Bands, GainWhatASpectrumAllows) {
  // 7.9 dB; Lloyd-Max codes in bands err .022, .0061 and .0018 there, in one rotation .122, .033 and .0088.
  const struct {
    CodecId codec;
    double in_bands, rotated;
  } cases[] = {{CodecId::kBand2, .022, .08}, {CodecId::kBand3, .0061, .026}, {CodecId::kBand4, .0018, .0088}};
  for (const auto& c : cases) {
    const BlockSpec spec = BandSpec(c.codec);
    const Kv kv = WithSpectrum(spec, 47.6, 8);
    const double error = KeyError(spec, kv);
    RecordProperty(std::string(CodecName(c.codec)), std::to_string(error));
    EXPECT_LT(error, c.in_bands * 1.03) << CodecName(c.codec);
    BlockSpec plain = spec;
    plain.codec.k = PlainCodecOf(c.codec);
    EXPECT_GT(KeyError(plain, kv), c.rotated) << CodecName(c.codec);
  }
}

TEST(Bands, LoseNothingWithoutASpectrumAtAnyHeadDim) {
  for (const uint32_t head_dim : kHeadDims) {
    for (const CodecId codec : {CodecId::kBand2, CodecId::kBand3, CodecId::kBand4}) {
      const BlockSpec spec = BandSpec(codec, head_dim);
      BlockSpec plain = spec;
      plain.codec.k = PlainCodecOf(codec);
      const Kv kv = testing::GaussianKv(spec, 9);
      EXPECT_LT(KeyError(spec, kv), KeyError(plain, kv) * 1.03) << head_dim << " " << CodecName(codec);
    }
  }
}

TEST(Bands, MoreBitsErrLessAtEveryHeadDimAndPairing) {
  for (const uint32_t head_dim : kHeadDims) {
    for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
      double last = 1;
      for (const CodecId codec : kBanded) {
        BlockSpec spec = BandSpec(codec, head_dim, 130);
        const uint16_t dims = static_cast<uint16_t>(pairing == RopePairing::kNone ? 0 : head_dim / 2);
        spec.rope = {pairing, dims == 0 ? 0 : 10000.0f, dims};
        const double error = KeyError(spec, WithSpectrum(spec, 40, 10));
        EXPECT_LT(error, last * .75) << head_dim << " " << CodecName(codec);
        last = error;
      }
    }
  }
}

TEST(Bands, TheLayerIsPlainUnlessItGainsADecibel) {
  const auto codec_of = [](double ratio, uint32_t tokens) {
    const BlockSpec spec = BandSpec(CodecId::kBand3, 128, tokens);
    const std::vector<uint8_t> bytes = Encode(spec, WithSpectrum(spec, ratio, 11), {});
    return Parse(bytes).layout().layer(0).codec.k;
  };
  EXPECT_EQ(codec_of(1, 512), CodecId::kTrellis3);
  EXPECT_EQ(codec_of(2.2, 512), CodecId::kTrellis3);  // .45 dB
  EXPECT_EQ(codec_of(9, 512), CodecId::kBand3);       // 3.1 dB
  EXPECT_EQ(codec_of(9, 4), CodecId::kTrellis3);      // all four are raw
  EXPECT_EQ(codec_of(1, 20), CodecId::kTrellis3);     // few keys always look uneven
}

TEST(Bands, EachHeadHasItsOwn) {
  BlockSpec spec = BandSpec(CodecId::kBand2, 64, 256);
  Kv kv = WithSpectrum(spec, 40, 12);
  const double alone = KeyError(spec, kv);
  spec.kv_heads = 2;
  Kv other = kv;
  for (size_t i = 0; i < kv.k.size(); i += 64) std::reverse(other.k.begin() + i, other.k.begin() + i + 64);
  kv.k.insert(kv.k.end(), other.k.begin(), other.k.end());
  kv.v.insert(kv.v.end(), other.v.begin(), other.v.end());
  EXPECT_LT(KeyError(spec, kv), alone * 1.1);
}

TEST(Bands, DeviationsRoundToTheNearestSixteenthOfAnOctave) {
  EXPECT_EQ(BandDeviation(32), 1);
  EXPECT_EQ(BandDeviation(0), 4);
  for (int code = 0; code < 256; ++code) {
    EXPECT_EQ(BandDeviationCode(BandDeviation(static_cast<uint8_t>(code))), code);
    EXPECT_EQ(BandDeviationCode(BandDeviation(static_cast<uint8_t>(code)) * 1.015f), code);
    EXPECT_EQ(BandDeviationCode(BandDeviation(static_cast<uint8_t>(code)) * .985f), code);
  }
  EXPECT_EQ(BandDeviationCode(0), 255);
  EXPECT_EQ(BandDeviationCode(100), 0);
}

TEST(Bands, PlansAreLegalWhateverTheKeys) {
  for (const uint32_t head_dim : kHeadDims) {
    for (const CodecId codec : kBanded) {
      for (const bool single : {false, true}) {
        BandPlanner planner({}, head_dim);
        std::vector<float> key(head_dim);
        planner.Add(key.data());  // zero: does not count
        key[head_dim - 1] = std::numeric_limits<float>::max();
        if (single) planner.Add(key.data());
        std::vector<uint8_t> table(BandTableBytes(head_dim));
        WriteBandTable(planner.Plan(codec), head_dim, table.data());
        EXPECT_EQ(BandTableDefect(table, codec, head_dim), nullptr);
        EXPECT_TRUE(std::isfinite(planner.CodingGain()));
      }
    }
  }
}

class BandsAtScale : public ::testing::TestWithParam<float> {};

TEST_P(BandsAtScale, ErrByTheSameFraction) {
  const BlockSpec spec = BandSpec(CodecId::kBand2, 96, 128);
  Kv kv = WithSpectrum(spec, 9, 13);
  const double expected = KeyError(spec, kv);
  for (float& x : kv.k) x *= GetParam();
  EXPECT_NEAR(KeyError(spec, kv), expected, .02 * expected);
}

INSTANTIATE_TEST_SUITE_P(Scales, BandsAtScale, ::testing::Values(1e-38f, 1e-30f, 1e-10f, 1e10f, 1e30f, 1e37f));

TEST(Bands, HardKeysStayFiniteAndZeroStaysZero) {
  for (const CodecId codec : kBanded) {
    const BlockSpec spec = BandSpec(codec, 128, 130);
    Kv kv = WithSpectrum(spec, 400, 14);
    const auto key = [&](uint32_t t) { return std::span(kv.k).subspan(size_t{t} * 128, 128); };
    std::ranges::fill(key(3), 0.0f);
    std::ranges::fill(key(4), std::numeric_limits<float>::max());
    std::ranges::fill(key(5), std::numeric_limits<float>::denorm_min());
    for (uint32_t j = 0; j < 128; ++j) {  // each where other keys may have nothing
      std::ranges::fill(key(j == 3 ? 1 : j), 0.0f);
      key(j == 3 ? 1 : j)[j] = std::numeric_limits<float>::max();
    }
    for (const bool escapes : {false, true}) {
      EncodeOptions options = kInBands;
      options.escapes = escapes;
      const std::vector<uint8_t> bytes = Encode(spec, kv, options);
      const Kv read = testing::Decode(Parse(bytes));
      for (const float x : read.k) ASSERT_TRUE(std::isfinite(x));
      for (uint32_t j = 0; j < 128; ++j) EXPECT_EQ(read.k[3 * 128 + j], 0);
      if (!escapes) continue;
      // What bands cannot hold is stored raw.
      for (uint32_t t = 4; t < 128; ++t) {
        EXPECT_LT(testing::RelativeSquaredError(&kv.k[t * 128], &read.k[t * 128], 128), .45) << t;
      }
    }
  }
}

TEST(Bands, AttentionIsThatOfTheDecodedKeysWithMeansAndRawTokens) {
  for (const CodecId codec : kBanded) {
    for (const uint32_t head_dim : {64u, 80u, 128u}) {
      BlockSpec spec = BandSpec(codec, head_dim, 150);
      spec.codec.v = CodecId::kFp16;
      Kv kv = WithSpectrum(spec, 20, 15);
      for (size_t i = 0; i < kv.k.size(); ++i) kv.k[i] += static_cast<float>(i % head_dim % 5);
      const std::vector<uint8_t> bytes = Encode(spec, kv, {KeyMeanPolicy::kAlways, 4, true, BandPolicy::kAlways});
      const BlockView block = Parse(bytes);
      const Kv read = testing::Decode(block);
      const std::vector<float> q = Gaussian(2 * head_dim, 16);
      std::vector<float> o(q.size()), lse(2);
      const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
      ASSERT_EQ(reference::Attend(std::span(&block, 1), 0, 1, 2, q, scale, o, lse), absl::OkStatus());
      for (uint32_t i = 0; i < 2; ++i) {
        double weight = 0;
        std::vector<double> sum(head_dim);
        for (uint32_t t = 0; t < spec.tokens; ++t) {
          const double w = std::exp(scale * testing::Dot(&q[i * head_dim], &read.k[t * head_dim], head_dim));
          weight += w;
          for (uint32_t j = 0; j < head_dim; ++j) sum[j] += w * read.v[t * head_dim + j];
        }
        EXPECT_NEAR(lse[i], std::log(weight), 1e-5);
        for (uint32_t j = 0; j < head_dim; ++j) EXPECT_NEAR(o[i * head_dim + j], sum[j] / weight, 1e-5);
      }
    }
  }
}

TEST(Bands, UncheckedTablesOfAnyBytesAreRead) {
  const BlockSpec spec = BandSpec(CodecId::kBand4, 80, 70);
  std::vector<uint8_t> bytes = Encode(spec, testing::GaussianKv(spec, 17), kInBands);
  const BlockLayout layout = Parse(bytes).layout();
  const uint64_t table = layout.SegmentOffset(0, PlaneKind::kBase) + layout.layer(0).first_band;
  std::mt19937 random(18);
  for (int i = 0; i < 50; ++i) {
    for (uint32_t j = 0; j < BandTableBytes(80); ++j) bytes[table + j] = static_cast<uint8_t>(random());
    EXPECT_FALSE(BlockView::Parse(bytes, VerifyPayload::kYes).ok());
    testing::Decode(BlockView::Parse(bytes, VerifyPayload::kNo).value());  // nothing outside the payload is touched
  }
}

}  // namespace
}  // namespace polarkv
