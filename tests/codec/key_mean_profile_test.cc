// A key-mean profile as bytes: what is written is read, what is damaged is refused, and blocks find their means in it.
#include "codec/key_mean_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>

#include "codec/half_float.h"
#include "tests/codec/block_defects.h"
#include "tests/codec/profile_samples.h"
#include "tests/codec/test_block.h"

namespace polarkv {
namespace {

using ::testing::HasSubstr;
using testing::LayeredSpec;
using testing::MakeBlock;
using testing::MakeProfile;
using testing::ProfileShapeFor;
using testing::SampleProfile;

std::vector<uint8_t> BytesOf(const KeyMeanProfilePtr& profile) {
  return {profile->bytes().begin(), profile->bytes().end()};
}

TEST(KeyMeanProfile, IsReadAsItWasWritten) {
  const KeyMeanProfilePtr profile = KeyMeanProfile::Parse(BytesOf(SampleProfile())).value();
  EXPECT_EQ(profile->shape(), testing::SampleProfileShape());
  EXPECT_EQ(profile->digest(), SampleProfile()->digest());
  EXPECT_EQ(profile->digest(), ProfileDigestOf(profile->bytes()));
  EXPECT_FALSE(profile->HasMean(0, 0));
  ASSERT_TRUE(profile->HasMean(0, 1));
  const VectorRecord mean = profile->Mean(0, 1);
  ASSERT_EQ(mean.halves.size(), 64u);
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(HalfToFloat(mean.halves[i]), 8.0f * static_cast<float>(i % 7) - 24.0f);
}

TEST(KeyMeanProfile, ItsDigestChangesWithEveryByte) {
  std::vector<uint8_t> bytes = BytesOf(SampleProfile());
  std::set<ProfileDigest> digests;
  for (uint8_t& byte : bytes) {
    byte ^= 1;
    EXPECT_TRUE(digests.insert(ProfileDigestOf(bytes)).second);
    byte ^= 1;
  }
  EXPECT_FALSE(digests.contains(SampleProfile()->digest()));
}

TEST(KeyMeanProfile, EachDefectIsRejectedWithItsStatusAndMessage) {
  std::set<std::string> messages;
  for (const testing::ProfileDefect& defect : testing::AllProfileDefects()) {
    const absl::Status status = KeyMeanProfile::Parse(defect.bytes).status();
    EXPECT_EQ(status.code(), defect.code) << defect.name;
    EXPECT_EQ(std::string(status.message()), defect.message) << defect.name;
    EXPECT_TRUE(messages.insert(defect.message).second) << defect.name;
  }
}

TEST(KeyMeanProfile, EveryFlippedBitAndEveryTruncationIsDetected) {
  const std::vector<uint8_t> good = BytesOf(SampleProfile());
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::vector<uint8_t> bytes = good;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    const absl::Status status = KeyMeanProfile::Parse(bytes).status();
    ASSERT_TRUE(absl::IsDataLoss(status)) << "bit " << bit << ": " << status;
  }
  for (size_t size = 0; size < good.size(); ++size) {
    // A vector of exactly these bytes: a sanitizer sees any read past them.
    const std::vector<uint8_t> cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(size));
    ASSERT_TRUE(absl::IsDataLoss(KeyMeanProfile::Parse(cut).status())) << size;
  }
}

TEST(KeyMeanProfile, BytesWhoseChecksumsAreRightButWhoseWriterMeantHarmAreReadInBounds) {
  const std::vector<uint8_t> good = BytesOf(SampleProfile());
  std::mt19937 random(11);
  size_t accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> bytes = good;
    for (uint32_t changes = 1 + random() % 3; changes > 0; --changes) {
      bytes[random() % (random() % 2 == 0 ? sizeof(ProfileHeader) : bytes.size())] = static_cast<uint8_t>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    testing::ResealProfile(bytes);
    const absl::StatusOr<KeyMeanProfilePtr> profile = KeyMeanProfile::Parse(std::vector<uint8_t>(bytes));
    if (!profile.ok()) continue;
    ++accepted;
    for (uint32_t head = 0; head < (*profile)->shape().kv_heads; ++head) {
      for (const uint16_t half : (*profile)->Mean(0, head).halves) ASSERT_LT(half & 0x7FFF, 0x7C00);
    }
  }
  EXPECT_GT(accepted, 100u);
}

TEST(KeyMeanProfile, IsNotMadeOfWhatDoesNotFit) {
  const auto message = [](const ProfileShape& shape, size_t bytes) {
    const absl::Status status = KeyMeanProfile::Make(shape, std::vector<uint8_t>(bytes)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  ProfileShape shape = testing::SampleProfileShape();
  EXPECT_THAT(message(shape, 287), HasSubstr("records have 287 bytes, this shape needs 288"));
  shape.phases.pop_back();
  EXPECT_THAT(message(shape, 288), HasSubstr("number of phases is 1; valid: rope_dims / 2 (2)"));
  shape = testing::SampleProfileShape();
  shape.layers = shape.kv_heads = 1024;
  EXPECT_THAT(message(shape, 288), HasSubstr("the limit is 4194304"));
  shape = testing::SampleProfileShape();
  shape.head_dim = 112;
  EXPECT_THAT(message(shape, 288), HasSubstr("head_dim is 112"));
}

// A block of layers that differ, two with key means, whose means are in a profile.
BlockSpec ProfiledSpec(const KeyMeanProfilePtr& profile) {
  BlockSpec spec = LayeredSpec();
  spec.phases.clear();
  spec.profile_digest = profile->digest();
  return spec;
}

TEST(ProfiledBlock, HasNeitherMeansNorPhasesOfItsOwn) {
  const KeyMeanProfilePtr profile = MakeProfile(ProfileShapeFor(LayeredSpec(), 8), 1);
  const BlockSpec spec = ProfiledSpec(profile);
  const BlockLayout layout = BlockLayout::Make(spec).value();
  EXPECT_EQ(layout.layer(1).first_tile, 0u);
  EXPECT_TRUE(layout.layer(1).key_mean);
  const BlockLayout own = BlockLayout::Make(LayeredSpec()).value();
  EXPECT_EQ(own.total_bytes() - layout.total_bytes(), 2u * 320 + 256);  // two layers' records, 32 phases
}

TEST(ProfiledBlock, FindsItsHeadsMeansInTheProfile) {
  BlockSpec spec = LayeredSpec();
  const KeyMeanProfilePtr profile = MakeProfile(ProfileShapeFor(spec, 8), 1);
  spec = ProfiledSpec(profile);
  const std::vector<uint8_t> block = MakeBlock(spec);
  const BlockView view = BlockView::Parse(block, VerifyPayload::kYes, profile).value();
  EXPECT_EQ(view.profile(), profile);
  EXPECT_EQ(view.spec().phases, profile->shape().phases);
  for (uint32_t head = 0; head < spec.kv_heads; ++head) {
    const VectorRecord expected = profile->Mean(1, spec.first_kv_head + head);
    EXPECT_EQ(view.KeyMean(1, head).halves.data(), expected.halves.data());
  }
  EXPECT_TRUE(view.KeyMean(0, 0).halves.empty());  // a layer without means
  EXPECT_TRUE(view.KeyMean(1, 2).halves.empty());  // no such head
}

TEST(ProfiledBlock, CanBeLookedAtWithoutTheProfileButSaysThatItIsMissing) {
  const KeyMeanProfilePtr profile = MakeProfile(ProfileShapeFor(LayeredSpec(), 8), 1);
  const BlockSpec spec = ProfiledSpec(profile);
  const std::vector<uint8_t> block = MakeBlock(spec);
  const BlockView view = BlockView::Parse(block, VerifyPayload::kYes).value();
  EXPECT_EQ(view.spec(), spec);
  EXPECT_TRUE(view.KeyMean(1, 0).halves.empty());
  EXPECT_TRUE(view.CheckMeans(0).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(view.CheckMeans(1)));
  EXPECT_THAT(std::string(view.CheckMeans(1).message()), HasSubstr(ProfileDigestText(profile->digest())));
}

TEST(ProfiledBlock, IsRefusedWithAProfileThatItDoesNotName) {
  const KeyMeanProfilePtr profile = MakeProfile(ProfileShapeFor(LayeredSpec(), 8), 1);
  const KeyMeanProfilePtr other = MakeProfile(ProfileShapeFor(LayeredSpec(), 8), 2);
  const std::vector<uint8_t> block = MakeBlock(ProfiledSpec(profile));
  const absl::Status status = BlockView::Parse(block, VerifyPayload::kNo, other).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(ProfileDigestText(profile->digest())));
  EXPECT_THAT(std::string(status.message()), HasSubstr(ProfileDigestText(other->digest())));
  // A block without a profile has no use for one.
  const std::vector<uint8_t> own = MakeBlock(LayeredSpec());
  const BlockView view = BlockView::Parse(own, VerifyPayload::kNo, other).value();
  EXPECT_EQ(view.profile(), nullptr);
  EXPECT_EQ(view.KeyMean(1, 0).exponent, 1);
}

TEST(ProfiledBlock, IsRefusedWithAProfileOfAnotherModelThoughItNamesIt) {
  const BlockSpec spec = LayeredSpec();
  const ProfileShape fits = ProfileShapeFor(spec, 8);
  const auto message = [&](const std::function<void(ProfileShape&)>& change) {
    ProfileShape shape = fits;
    change(shape);
    const KeyMeanProfilePtr profile = MakeProfile(shape, 1);
    const std::vector<uint8_t> block = MakeBlock(ProfiledSpec(profile));
    const absl::Status status = BlockView::Parse(block, VerifyPayload::kNo, profile).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message([](auto& s) { s.layers = 4; }), HasSubstr("layers is 4, the block's 5"));
  EXPECT_THAT(message([](auto& s) { s.head_dim = 128; }), HasSubstr("head_dim is 128, the block's 64"));
  EXPECT_THAT(message([](auto& s) { s.kv_heads = 5; }), HasSubstr("kv_heads is 5, the block's heads end at 6"));
  EXPECT_THAT(message([](auto& s) { s.rope.base = 5e5f; }), HasSubstr("RoPE is half, base 500000, 64 dims"));
}

TEST(ProfiledBlock, OfAnyHeaderNeverReadsPastItsProfile) {
  BlockSpec spec = LayeredSpec();
  const KeyMeanProfilePtr profile = MakeProfile(ProfileShapeFor(spec, 6), 1);  // its last head is the block's last
  spec = ProfiledSpec(profile);
  const std::vector<uint8_t> good = MakeBlock(spec);
  ASSERT_TRUE(BlockView::Parse(good, VerifyPayload::kYes, profile).ok());
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> block = good;
    block[random() % offsetof(BlockHeader, profile_digest)] = static_cast<uint8_t>(random());
    testing::ResealHeader(block);
    const absl::StatusOr<BlockView> view = BlockView::Parse(block, VerifyPayload::kNo, profile);
    if (!view.ok()) continue;
    for (uint32_t layer = 0; layer <= view->spec().layers; ++layer) {
      for (uint32_t head = 0; head <= view->spec().kv_heads; ++head) {
        for (const uint16_t half : view->KeyMean(layer, head).halves) ASSERT_LT(half & 0x7FFF, 0x7C00);
      }
    }
  }
}

}  // namespace
}  // namespace polarkv
