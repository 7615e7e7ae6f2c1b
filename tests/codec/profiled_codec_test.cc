// Blocks whose key means are in a profile: what they gain, and that every reader finds the means or says what is missing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "codec/key_mean_profile_builder.h"
#include "codec/tile_matrix.h"
#include "tests/codec/attention_check.h"
#include "tests/codec/biased_keys.h"
#include "tests/codec/codec_cases.h"
#include "tests/codec/profile_samples.h"

namespace polarkv {
namespace {

using ::testing::HasSubstr;
using testing::BiasedKeys;
using testing::Decode;
using testing::Encode;
using testing::Gaussian;
using testing::Kv;
using testing::OneHead;

BlockSpec RopedSpec(CodecPair codec, RopePairing pairing, uint32_t tokens, uint32_t head_dim = 128) {
  BlockSpec spec = OneHead(codec, head_dim, tokens);
  spec.first_position = 1000;
  if (pairing != RopePairing::kNone) spec.rope = {pairing, 1e6f, static_cast<uint16_t>(head_dim)};
  return spec;
}

// The profile of keys as BiasedKeys makes them with that bias and seed, learned from others than are encoded.
KeyMeanProfilePtr Learned(const BlockSpec& spec, testing::KeyBias bias, uint32_t seed) {
  BlockSpec calibration = spec;
  calibration.tokens = 2048;
  calibration.first_position = 50000;
  const std::vector<float> keys = BiasedKeys(calibration, bias, seed);
  const auto builder =
      KeyMeanProfileBuilder::Create({spec.layers, spec.kv_heads, spec.head_dim, spec.rope, spec.phases}).value();
  EXPECT_TRUE(builder->Add(testing::View(calibration, keys), calibration.first_position).ok());
  return builder->Build().value();
}

EncodeOptions With(const KeyMeanProfilePtr& profile) {
  EncodeOptions options;
  options.profile = profile.get();
  return options;
}

BlockView Parse(const std::vector<uint8_t>& bytes, const KeyMeanProfilePtr& profile) {
  return BlockView::Parse(bytes, VerifyPayload::kYes, profile).value();
}

class ProfiledScores : public ::testing::TestWithParam<RopePairing> {};

// The gate of blocks' own means, at the block size of engines, where own means would cost a quarter of a bit.
TEST_P(ProfiledScores, ErrAlikeAtEveryBiasInBlocksOf64Tokens) {
  constexpr uint32_t kSeed = 900;
  const BlockSpec spec = RopedSpec(ParseCodecPair("default").value(), GetParam(), 64);
  for (const double norm : {0.0, 20.0, 120.0, 600.0}) {
    for (const bool on_all_pairs : {false, true}) {
      SCOPED_TRACE("bias " + std::to_string(norm) + (on_all_pairs ? " on all pairs" : " on 4 pairs"));
      const KeyMeanProfilePtr profile = Learned(spec, {norm, on_all_pairs}, kSeed);
      EXPECT_EQ(profile->HasMean(0, 0), norm > 0);
      double variance = 0;
      size_t bytes = 0;
      constexpr uint32_t kBlocks = 16;
      for (uint32_t i = 0; i < kBlocks; ++i) {
        BlockSpec block = spec;
        block.first_position += i * 64;
        // The same bias, by its seed; other noise.
        const std::vector<float> bias = BiasedKeys(block, {norm, on_all_pairs}, kSeed);
        const std::vector<float> same = BiasedKeys(block, {0, on_all_pairs}, kSeed);
        std::vector<float> keys = Gaussian(64 * 128, kSeed + 100 + i);
        for (size_t j = 0; j < keys.size(); ++j) keys[j] += bias[j] - same[j];
        const std::vector<uint8_t> encoded = Encode(block, {keys, keys}, With(profile));
        bytes += encoded.size();
        variance += testing::LogitErrorVariance(keys, Decode(Parse(encoded, profile)).k, 128, 64, kSeed + i) / kBlocks;
      }
      EXPECT_LE(variance, .012);
      // Header and directory included, which blocks of one head and layer have all to themselves.
      EXPECT_LE(8.0 * static_cast<double>(bytes) / (kBlocks * 64 * 128 * 2), 4.25);
      RecordProperty("variance_" + std::to_string(static_cast<int>(norm)) + (on_all_pairs ? "_all" : "_4"),
                     std::to_string(variance));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ropes, ProfiledScores,
                         ::testing::Values(RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved),
                         [](const auto& test) {
                           return test.param == RopePairing::kNone   ? "none"
                                  : test.param == RopePairing::kHalf ? "half"
                                                                     : "interleaved";
                         });

TEST(ProfiledBlocks, AreSmallerThanThoseWithMeansOfTheirOwn) {
  const BlockSpec spec = RopedSpec(ParseCodecPair("default").value(), RopePairing::kHalf, 64);
  const KeyMeanProfilePtr profile = Learned(spec, {120, false}, 910);
  const std::vector<float> keys = BiasedKeys(spec, {120, false}, 910);
  const std::vector<uint8_t> own = Encode(spec, {keys, keys}), profiled = Encode(spec, {keys, keys}, With(profile));
  // The head's record and 64 phases.
  EXPECT_EQ(own.size() - profiled.size(), 320u + 512u);
}

TEST(ProfiledBlocks, ATokenWithoutTheBiasKeepsItsOwnKey) {
  const BlockSpec spec = RopedSpec({CodecId::kTurbo2, CodecId::kTurbo2}, RopePairing::kHalf, 64);
  const KeyMeanProfilePtr profile = Learned(spec, {120, false}, 920);
  std::vector<float> keys = BiasedKeys(spec, {120, false}, 920);
  for (uint32_t j = 0; j < 128; ++j) keys[7 * 128 + j] = .01f * Gaussian(128, 921)[j];
  const std::vector<uint8_t> bytes = Encode(spec, {keys, keys}, With(profile));
  const BlockView block = Parse(bytes, profile);
  EXPECT_EQ(FindTilePart(block, KvSide::kKey, 0, 0, 0).means, ~(uint64_t{1} << 7));
  EXPECT_LT(testing::RelativeSquaredError(&keys[7 * 128], &Decode(block).k[7 * 128], 128), .3);
}

TEST(ProfiledBlocks, TakeTheMeansOfTheirOwnHeads) {
  BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo4}, RopePairing::kHalf, 64);
  const std::vector<float> keys = BiasedKeys(spec, {120, true}, 930);
  const auto builder = KeyMeanProfileBuilder::Create({1, 3, 128, spec.rope, {}}).value();
  const std::vector<float> others = Gaussian(keys.size(), 931);
  for (const uint32_t head : {0u, 1u, 2u}) {
    ASSERT_TRUE(builder->Add(testing::View(spec, head == 2 ? keys : others), 1000, head).ok());
  }
  const KeyMeanProfilePtr profile = builder->Build().value();
  for (const uint16_t head : {uint16_t{1}, uint16_t{2}}) {
    spec.first_kv_head = head;
    const std::vector<uint8_t> bytes = Encode(spec, {keys, keys}, With(profile));
    EXPECT_EQ(Parse(bytes, profile).layout().layer(0).key_mean, head == 2);
    const double variance = testing::LogitErrorVariance(keys, Decode(Parse(bytes, profile)).k, 128, 16, 932);
    EXPECT_EQ(variance < .012, head == 2) << variance;
  }
}

TEST(ProfiledBlocks, NameTheirProfileEvenIfTheyHaveNoUseForIt) {
  const BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo4}, RopePairing::kHalf, 64);
  const KeyMeanProfilePtr profile = Learned(spec, {120, false}, 940);
  const std::vector<float> keys = BiasedKeys(spec, {120, false}, 940);
  EncodeOptions never = With(profile);
  never.key_mean = KeyMeanPolicy::kNever;
  BlockSpec half_precision = spec;
  half_precision.codec = {CodecId::kFp16, CodecId::kFp16};
  for (const std::vector<uint8_t>& bytes :
       {Encode(spec, {keys, keys}, never), Encode(half_precision, {keys, keys}, With(profile))}) {
    const BlockView block = testing::Parse(bytes);
    EXPECT_EQ(block.spec().profile_digest, profile->digest());
    EXPECT_FALSE(block.layout().layer(0).key_mean);
    EXPECT_FALSE(Decode(block).k.empty());  // without the profile
  }
}

TEST(ProfiledBlocks, CannotBeDecodedOrAttendedWithoutTheProfile) {
  const BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo4}, RopePairing::kHalf, 64);
  const KeyMeanProfilePtr profile = Learned(spec, {120, false}, 950);
  const std::vector<float> keys = BiasedKeys(spec, {120, false}, 950);
  const std::vector<uint8_t> bytes = Encode(spec, {keys, keys}, With(profile));
  const BlockView block = testing::Parse(bytes);
  std::vector<float> k(keys.size()), v(keys.size()), o(128), lse(1);
  const absl::Status decoded = reference::DecodeBlock(block, k, v);
  EXPECT_TRUE(absl::IsFailedPrecondition(decoded)) << decoded;
  EXPECT_THAT(std::string(decoded.message()), HasSubstr(ProfileDigestText(profile->digest())));
  const absl::Status attended = reference::Attend({&block, 1}, 0, 1, 1, std::vector<float>(128, 1.0f), 1, o, lse);
  EXPECT_EQ(attended, decoded);
}

TEST(ProfiledBlocks, OfEveryCodecAttendAsTheyDecode) {
  for (const testing::CodecCase& c : testing::AllCodecCases()) {
    if (!TraitsOf(c.codec.k).has_scales || c.head_dim == 192 || c.head_dim == 256) continue;
    for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
      BlockSpec spec = RopedSpec(c.codec, pairing, 100, c.head_dim);
      SCOPED_TRACE(CodecPairName(c.codec) + ", d " + std::to_string(c.head_dim) + ", " + testing::SpecText(spec));
      const KeyMeanProfilePtr profile = Learned(spec, {30, true}, 960);
      spec.first_position = 0;  // with escapes at the beginning
      const Kv kv = {BiasedKeys(spec, {30, true}, 960), Gaussian(testing::ElementCount(spec), 961)};
      const std::vector<uint8_t> bytes = Encode(spec, kv, With(profile));
      const BlockView block = Parse(bytes, profile);
      ASSERT_TRUE(block.layout().layer(0).key_mean);
      const Kv read = Decode(block);
      testing::ExpectAttentionOnDecoded(block, read, 962);
    }
  }
}

TEST(ProfiledBlocks, AreNotEncodedWithAProfileThatIsNotTheirs) {
  const BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo4}, RopePairing::kHalf, 64);
  const KeyMeanProfilePtr profile = Learned(spec, {120, false}, 970);
  const std::vector<float> keys = BiasedKeys(spec, {120, false}, 970);
  const auto message = [&](const BlockSpec& of, const EncodeOptions& options) {
    const auto block = reference::EncodeBlock(of, testing::View(of, keys), testing::View(of, keys), options);
    EXPECT_TRUE(absl::IsInvalidArgument(block.status())) << block.status();
    return std::string(block.status().message());
  };
  BlockSpec named = spec;
  named.profile_digest.fill(1);
  EXPECT_THAT(message(named, {}), HasSubstr("give it in EncodeOptions::profile"));
  EXPECT_THAT(message(named, With(profile)), HasSubstr("01010101010101010101010101010101, EncodeOptions::profile is"));
  BlockSpec interleaved = spec;
  interleaved.rope.pairing = RopePairing::kInterleaved;
  EXPECT_THAT(message(interleaved, With(profile)), HasSubstr("is of another model: RoPE"));
  BlockSpec scaled = spec;
  scaled.phases.assign(64, 1);
  EXPECT_THAT(message(scaled, With(profile)), HasSubstr("phases are not those of profile"));
  BlockSpec last_head = spec;
  last_head.first_kv_head = 1;
  EXPECT_THAT(message(last_head, With(profile)), HasSubstr("kv_heads is 1"));
}

// Whoever makes a profile may put any finite numbers into it.
TEST(ProfiledBlocks, OfHugeMeansDoNoHarm) {
  const BlockSpec spec = RopedSpec({CodecId::kTurbo4, CodecId::kTurbo4}, RopePairing::kHalf, 64);
  std::vector<uint8_t> record(VectorRecordBytes(128));
  for (uint32_t j = 0; j < 128; ++j) {
    const uint16_t half = j % 3 == 0 ? 0xFBFF : 0x7BFF;  // the largest finite ones
    std::memcpy(record.data() + sizeof(VectorRecordHead) + 2 * j, &half, 2);
  }
  const int16_t exponent = kMaxTileExponent;
  std::memcpy(record.data(), &exponent, sizeof exponent);
  const ProfileShape shape = testing::ProfileShapeFor(spec, 1);
  const KeyMeanProfilePtr profile = KeyMeanProfile::Make(shape, record).value();
  for (const float size : {1.0f, 3e38f, -3e38f}) {
    const std::vector<float> keys(64 * 128, size);
    const std::vector<uint8_t> bytes = Encode(spec, {keys, keys}, With(profile));
    for (const float value : Decode(Parse(bytes, profile)).k) ASSERT_TRUE(std::isfinite(value));
  }
}

}  // namespace
}  // namespace polarkv
