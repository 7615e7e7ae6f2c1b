// Keys without their head's mean: the scores' errors do not grow with the bias, and what the encoder decides is sane.
#include "codec/key_mean.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "codec/rope_phase.h"
#include "codec/tile_matrix.h"
#include "tests/codec/attention_check.h"
#include "tests/codec/biased_keys.h"
#include "tests/codec/codec_cases.h"

namespace polarkv {
namespace {

using testing::BiasedKeys;
using testing::Decode;
using testing::Encode;
using testing::Gaussian;
using testing::KeyBias;
using testing::Kv;
using testing::LogitErrorVariance;
using testing::OneHead;
using testing::Parse;
using testing::SeedText;

BlockSpec RopedSpec(CodecPair codec, RopePairing pairing, float base, uint32_t tokens, uint32_t head_dim = 128) {
  BlockSpec spec = OneHead(codec, head_dim, tokens);
  spec.first_position = 1000;
  if (pairing != RopePairing::kNone) spec.rope = {pairing, base, static_cast<uint16_t>(head_dim)};
  return spec;
}

double BitsPerCoordinate(const std::vector<uint8_t>& bytes, const BlockSpec& spec) {
  return 8.0 * static_cast<double>(bytes.size()) / (2.0 * static_cast<double>(testing::ElementCount(spec)));
}

struct RopeCase {
  RopePairing pairing;
  float base;
};

class BiasedKeyScores : public ::testing::TestWithParam<RopeCase> {};

TEST_P(BiasedKeyScores, ErrAlikeAtEveryBias) {
  const uint32_t seed = 800;
  SCOPED_TRACE(SeedText(seed));
  const BlockSpec spec = RopedSpec(ParseCodecPair("default").value(), GetParam().pairing, GetParam().base, 1024);
  const std::vector<float> values = Gaussian(testing::ElementCount(spec), seed + 9);
  for (double norm : {0.0, 20.0, 120.0, 600.0}) {
    for (bool on_all_pairs : {false, true}) {
      const std::vector<float> keys = BiasedKeys(spec, {norm, on_all_pairs}, seed);
      const std::vector<uint8_t> bytes = Encode(spec, {keys, values});
      const Kv read = Decode(Parse(bytes));
      const double variance = LogitErrorVariance(keys, read.k, 128, 64, seed + 2);
      EXPECT_LE(variance, .012) << "bias " << norm << (on_all_pairs ? " on all pairs" : " on 4 pairs");
      EXPECT_LE(BitsPerCoordinate(bytes, spec), 4.2);
      EXPECT_EQ(Parse(bytes).layout().layer(0).key_mean, norm > 0);
      RecordProperty("variance_" + std::to_string(static_cast<int>(norm)) + (on_all_pairs ? "_all" : "_4"),
                     std::to_string(variance));
      RecordProperty("bits", std::to_string(BitsPerCoordinate(bytes, spec)));
    }
  }
}

TEST_P(BiasedKeyScores, WouldErrByFarWithoutTheMean) {
  const BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo2}, GetParam().pairing, GetParam().base, 512);
  const std::vector<float> keys = BiasedKeys(spec, {120, false}, 810);
  const std::vector<uint8_t> bytes = Encode(spec, {keys, keys}, testing::kCodesAlone);
  EXPECT_GT(LogitErrorVariance(keys, Decode(Parse(bytes)).k, 128, 16, 812), .1);
}

INSTANTIATE_TEST_SUITE_P(Ropes, BiasedKeyScores,
                         ::testing::Values(RopeCase{RopePairing::kHalf, 1e4f}, RopeCase{RopePairing::kHalf, 1e6f},
                                           RopeCase{RopePairing::kInterleaved, 1e4f},
                                           RopeCase{RopePairing::kInterleaved, 1e6f}, RopeCase{RopePairing::kNone, 0}),
                         [](const auto& test) {
                           const std::string pairing = test.param.pairing == RopePairing::kHalf          ? "half"
                                                       : test.param.pairing == RopePairing::kInterleaved ? "interleaved"
                                                                                                         : "none";
                           return pairing + std::to_string(static_cast<int>(test.param.base));
                         });

// A spec that was meant for another model: means turned by its phases would be read back unturned.
TEST(KeyMeans, PhasesWithoutRopeAreOfNoMeaning) {
  const BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo4}, RopePairing::kNone, 0, 256);
  const std::vector<float> keys = BiasedKeys(spec, {60, false}, 815);
  BlockSpec phased = spec;
  phased.phases.assign(300, 0x0123456789ABCDEF);
  const EncodeOptions options = {KeyMeanPolicy::kAlways, 4, true};
  EXPECT_EQ(Encode(phased, {keys, keys}, options), Encode(spec, {keys, keys}, options));
}

TEST(KeyMeans, ANumberOfPhasesThatRopeDoesNotHaveIsRefused) {
  BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo4}, RopePairing::kHalf, 1e4f, 64);
  const std::vector<float> keys = BiasedKeys(spec, {60, false}, 816);
  for (const size_t count : {1u, 63u, 65u, 1000u}) {
    spec.phases.assign(count, 1);
    const auto block = reference::EncodeBlock(spec, testing::View(spec, keys), testing::View(spec, keys));
    EXPECT_EQ(block.status().code(), absl::StatusCode::kInvalidArgument) << count;
    EXPECT_THAT(std::string(block.status().message()), ::testing::HasSubstr("number of phases")) << count;
  }
}

TEST(KeyMeans, ATokenWithoutTheBiasKeepsItsOwnKey) {
  const BlockSpec spec = RopedSpec({CodecId::kTurbo2, CodecId::kTurbo2}, RopePairing::kHalf, 1e4f, 256);
  std::vector<float> keys = BiasedKeys(spec, {120, false}, 820);
  constexpr uint32_t kSink = 70;
  for (uint32_t j = 0; j < 128; ++j) keys[kSink * 128 + j] = .01f * Gaussian(128, 821)[j];
  const std::vector<uint8_t> bytes = Encode(spec, {keys, keys});
  const BlockView block = Parse(bytes);
  const uint64_t means = FindTilePart(block, KvSide::kKey, 0, 0, 1).means;
  EXPECT_EQ(means, ~(uint64_t{1} << (kSink - kTileTokens)));
  EXPECT_LT(testing::RelativeSquaredError(&keys[kSink * 128], &Decode(block).k[kSink * 128], 128), .3);
}

TEST(KeyMeans, ServeScaledRopeWhosePhasesTheCallerGives) {
  BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo2}, RopePairing::kHalf, 1e4f, 512);
  BlockSpec slower = spec;  // keys turned at a quarter of the speed
  slower.first_position = 0;
  spec.phases = RopePhases(spec.rope);
  for (uint64_t& phase : spec.phases) phase /= 4;
  std::vector<float> keys;
  for (uint32_t t = 0; t < spec.tokens; ++t) {
    std::vector<float> bias(128, 20.0f), turned(128);
    TurnToPosition(spec.rope, spec.phases, spec.first_position + t, bias.data(), 128, turned.data());
    const std::vector<float> noise = Gaussian(128, 830 + t);
    for (uint32_t j = 0; j < 128; ++j) keys.push_back(turned[j] + noise[j]);
  }
  const std::vector<uint8_t> bytes = Encode(spec, {keys, keys});
  EXPECT_EQ(Parse(bytes).spec().phases, spec.phases);
  EXPECT_LE(LogitErrorVariance(keys, Decode(Parse(bytes)).k, 128, 16, 831), .012);
}

TEST(KeyMeans, AreTakenOffWhereTheyPayAndByOption) {
  const auto has_mean = [](uint32_t tokens, double norm, EncodeOptions options) {
    const BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo2}, RopePairing::kHalf, 1e4f, tokens);
    const std::vector<float> keys = BiasedKeys(spec, {norm, false}, 840);
    return Parse(Encode(spec, {keys, keys}, options)).layout().layer(0).key_mean;
  };
  EXPECT_FALSE(has_mean(512, 0, {}));
  EXPECT_FALSE(has_mean(512, 3, {}));  // 7 % of the energy
  EXPECT_TRUE(has_mean(512, 5, {}));
  EXPECT_FALSE(has_mean(64, 5, {}));  // 16 %, worth less than the quarter of a bit that it would cost
  EXPECT_TRUE(has_mean(64, 20, {}));
  EXPECT_FALSE(has_mean(512, 20, {KeyMeanPolicy::kNever, 4, true}));
  EXPECT_TRUE(has_mean(512, 0, {KeyMeanPolicy::kAlways, 4, true}));
}

TEST(KeyMeans, OfHugeKeysDoNoHarm) {
  const BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo2}, RopePairing::kHalf, 1e4f, 256);
  for (float size : {1e30f, 3e38f}) {
    std::vector<float> keys(256 * 128, size);
    const std::vector<uint8_t> bytes = Encode(spec, {keys, keys}, {KeyMeanPolicy::kAlways, 0, true});
    for (float value : Decode(Parse(bytes)).k) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST(KeyMeans, OfEveryCodecAndSpecAttendAsTheyDecode) {
  for (const testing::CodecCase& c : testing::AllCodecCases()) {
    if (!TraitsOf(c.codec.k).has_scales || c.head_dim == 192 || c.head_dim == 256) continue;
    for (RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
      BlockSpec spec = RopedSpec(c.codec, pairing, 1e4f, 200, c.head_dim);
      spec.first_position = 0;  // with escapes at the beginning
      SCOPED_TRACE(CodecPairName(c.codec) + ", d " + std::to_string(c.head_dim) + ", " + testing::SpecText(spec));
      const Kv kv = {BiasedKeys(spec, {30, true}, 850), Gaussian(testing::ElementCount(spec), 851)};
      const std::vector<uint8_t> bytes = Encode(spec, kv);
      const BlockView block = Parse(bytes);
      EXPECT_TRUE(block.layout().layer(0).key_mean);
      EXPECT_GE(block.layout().layer(0).escapes, TraitsOf(c.codec.v).has_scales ? 8u : 4u);
      const Kv read = Decode(block);
      testing::ExpectAttentionOnDecoded(block, read, 852);
    }
  }
}

}  // namespace
}  // namespace polarkv
