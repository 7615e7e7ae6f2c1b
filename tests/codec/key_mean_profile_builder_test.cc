// Profiles that are built of keys have those keys' means, whatever pieces the keys come in.
#include "codec/key_mean_profile_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/codec/biased_keys.h"

namespace polarkv {
namespace {

using ::testing::HasSubstr;
using testing::BiasedKeys;
using testing::Gaussian;
using testing::OneHead;

BlockSpec Spec(uint32_t tokens, RopePairing pairing = RopePairing::kHalf, uint64_t first_position = 1000) {
  BlockSpec spec = OneHead(ParseCodecPair("default").value(), 128, tokens);
  spec.rope = pairing == RopePairing::kNone ? Rope{} : Rope{pairing, 1e6f, 128};
  spec.first_position = first_position;
  return spec;
}

ProfileShape ShapeOf(const BlockSpec& spec, uint32_t kv_heads = 1) {
  return {spec.layers, static_cast<uint16_t>(kv_heads), spec.head_dim, spec.rope, {}};
}

TensorView Part(const std::vector<float>& keys, uint32_t begin, uint32_t tokens) {
  return TensorView::Contiguous(keys.data() + size_t{begin} * 128, Dtype::kF32, {1, 1, tokens, 128});
}

TEST(KeyMeanProfileBuilder, FindsTheBiasUnderEveryRope) {
  for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
    const BlockSpec spec = Spec(4096, pairing);
    const std::vector<float> keys = BiasedKeys(spec, {120, true}, 5);
    const auto builder = KeyMeanProfileBuilder::Create(ShapeOf(spec)).value();
    ASSERT_TRUE(builder->Add(Part(keys, 0, 4096), spec.first_position).ok());
    const KeyMeanProfilePtr profile = builder->Build().value();
    ASSERT_TRUE(profile->HasMean(0, 0));
    const auto mean = ReadRecord(profile->Mean(0, 0));
    double square = 0;
    for (uint32_t j = 0; j < 128; ++j) square += double{mean[j]} * mean[j];
    EXPECT_NEAR(std::sqrt(square), 120, 1.5);
    // What is left of the energy is that of N(0,I).
    const auto gain = builder->GainOf(0, 0);
    EXPECT_EQ(gain.tokens, 4096u);
    EXPECT_NEAR((gain.energy - gain.removed) / 4096 / 128, 1, .03);
  }
}

TEST(KeyMeanProfileBuilder, GivesTheSameBytesWhateverPiecesTheKeysComeIn) {
  const BlockSpec spec = Spec(500);
  const std::vector<float> keys = BiasedKeys(spec, {20, false}, 6);
  const auto build = [&](std::vector<uint32_t> cuts) {
    const auto builder = KeyMeanProfileBuilder::Create(ShapeOf(spec)).value();
    uint32_t begin = 0;
    cuts.push_back(500);
    for (const uint32_t end : cuts) {
      EXPECT_TRUE(builder->Add(Part(keys, begin, end - begin), spec.first_position + begin).ok());
      begin = end;
    }
    return builder->Build().value()->digest();
  };
  const ProfileDigest whole = build({});
  EXPECT_EQ(build({1}), whole);
  EXPECT_EQ(build({64, 128, 200, 201, 499}), whole);
}

TEST(KeyMeanProfileBuilder, TakesHeadsFromSeveralRanksAndStridedTensors) {
  const BlockSpec spec = Spec(300);
  const std::vector<float> first = BiasedKeys(spec, {20, false}, 7), second = BiasedKeys(spec, {40, true}, 8);
  const auto by_rank = KeyMeanProfileBuilder::Create(ShapeOf(spec, 2)).value();
  ASSERT_TRUE(by_rank->Add(Part(second, 0, 300), spec.first_position, 1).ok());
  ASSERT_TRUE(by_rank->Add(Part(first, 0, 300), spec.first_position, 0).ok());
  // [tokens][heads][head_dim], as engines have it.
  std::vector<float> both;
  for (uint32_t t = 0; t < 300; ++t) {
    both.insert(both.end(), first.begin() + t * 128, first.begin() + (t + 1) * 128);
    both.insert(both.end(), second.begin() + t * 128, second.begin() + (t + 1) * 128);
  }
  const TensorView view = {both.data(), Dtype::kF32, {1, 2, 300, 128}, {2 * 300 * 128, 128, 2 * 128, 1}};
  const auto at_once = KeyMeanProfileBuilder::Create(ShapeOf(spec, 2)).value();
  ASSERT_TRUE(at_once->Add(view, spec.first_position).ok());
  EXPECT_EQ(by_rank->Build().value()->digest(), at_once->Build().value()->digest());
}

TEST(KeyMeanProfileBuilder, LeavesOutMeansThatTakeLittleOff) {
  const auto has_mean = [](double norm, uint32_t tokens) {
    const BlockSpec spec = Spec(tokens);
    const auto builder = KeyMeanProfileBuilder::Create(ShapeOf(spec)).value();
    EXPECT_TRUE(builder->Add(Part(BiasedKeys(spec, {norm, false}, 9), 0, tokens), spec.first_position).ok());
    return builder->Build().value()->HasMean(0, 0);
  };
  EXPECT_FALSE(has_mean(0, 1024));
  EXPECT_FALSE(has_mean(3, 1024));  // 7 % of the energy
  EXPECT_TRUE(has_mean(5, 1024));
  // A mean of few keys has much of their noise, which it would add to others.
  EXPECT_FALSE(has_mean(0, 2));
  EXPECT_FALSE(has_mean(0, 8));
  EXPECT_FALSE(has_mean(0, 1));
}

TEST(KeyMeanProfileBuilder, LeavesTheFirstTokensOut) {
  const BlockSpec spec = Spec(64, RopePairing::kHalf, 0);
  std::vector<float> keys = BiasedKeys(spec, {20, false}, 10);
  const auto digest = [&](uint32_t raw) {
    const auto builder = KeyMeanProfileBuilder::Create(ShapeOf(spec)).value();
    EXPECT_TRUE(builder->Add(Part(keys, 0, 64), 0, 0, raw).ok());
    return builder->Build().value()->digest();
  };
  const ProfileDigest four = digest(4), none = digest(0);
  for (uint32_t j = 0; j < 4 * 128; ++j) keys[j] = -keys[j];
  EXPECT_EQ(digest(4), four);
  EXPECT_NE(digest(0), none);
}

TEST(KeyMeanProfileBuilder, UsesThePhasesThatItIsGiven) {
  const BlockSpec spec = Spec(512);
  ProfileShape shape = ShapeOf(spec);
  shape.phases.assign(64, 0);  // keys that were not turned
  std::vector<float> keys = Gaussian(512 * 128, 11);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] += static_cast<float>(i % 128 == 5) * 60;
  const auto builder = KeyMeanProfileBuilder::Create(shape).value();
  ASSERT_TRUE(builder->Add(Part(keys, 0, 512), 1 << 20).ok());
  const KeyMeanProfilePtr profile = builder->Build().value();
  EXPECT_EQ(profile->shape().phases, shape.phases);
  EXPECT_NEAR(ReadRecord(profile->Mean(0, 0))[5], 60, .5);
}

TEST(KeyMeanProfileBuilder, SaysWhatIsWrongWithItsInput) {
  const auto create = [](const ProfileShape& shape) {
    return std::string(KeyMeanProfileBuilder::Create(shape).status().message());
  };
  ProfileShape shape = ShapeOf(Spec(64));
  shape.layers = 0;
  EXPECT_THAT(create(shape), HasSubstr("layers is 0"));
  shape = ShapeOf(Spec(64));
  shape.phases.assign(3, 1);
  EXPECT_THAT(create(shape), HasSubstr("number of phases is 3"));
  shape = ShapeOf(Spec(64), 1000);
  shape.layers = 1000;
  EXPECT_THAT(create(shape), HasSubstr("the limit is"));

  std::vector<float> keys = Gaussian(64 * 128, 12);
  const auto builder = KeyMeanProfileBuilder::Create(ShapeOf(Spec(64))).value();
  EXPECT_TRUE(absl::IsFailedPrecondition(builder->Build().status()));  // no keys at all
  const TensorView two_heads = TensorView::Contiguous(keys.data(), Dtype::kF32, {1, 2, 32, 128});
  EXPECT_THAT(std::string(builder->Add(two_heads, 0).message()), HasSubstr("heads 0 to 2, the model has 1"));
  const auto with_nan = KeyMeanProfileBuilder::Create(ShapeOf(Spec(64))).value();
  keys[130] = NAN;
  EXPECT_THAT(std::string(with_nan->Add(Part(keys, 0, 64), 1000).message()), HasSubstr("token 1, coordinate 2"));
  // Some of the keys were added before: what would be built of them would be nobody's mean.
  EXPECT_TRUE(absl::IsInvalidArgument(with_nan->Add(Part(keys, 2, 62), 1002)));
  EXPECT_TRUE(absl::IsInvalidArgument(with_nan->Build().status()));
}

}  // namespace
}  // namespace polarkv
