// Blocks whose key means are in a profile, on every instruction set: the reference's bytes, and the numbers of blocks that
// have the same means themselves.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "codec/key_mean_profile.h"
#include "codec/reference_codec.h"
#include "codec/rope_phase.h"
#include "codec/rotation.h"
#include "kernels/cpu/cpu_attention.h"
#include "kernels/cpu/cpu_decode.h"
#include "kernels/cpu/cpu_encode.h"
#include "kernels/cuda/resident_block.h"
#include "tests/codec/profile_samples.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/instruction_sets.h"

namespace polarkv {
namespace {

using cpu::InstructionSet;
using testing::ElementCount;
using testing::Gaussian;
using testing::Kv;

BlockSpec Spec(const char* codec, RopePairing pairing) {
  BlockSpec spec = testing::OneHead(ParseCodecPair(codec).value(), 128, 150);
  spec.layers = 2;
  spec.kv_heads = 2;
  if (pairing != RopePairing::kNone) spec.rope = {pairing, 10000.0f, 128};
  return spec;
}

// Each head's keys have a mean of their own, which every seventh token lacks.
Kv BiasedKv(const BlockSpec& spec, uint32_t seed) {
  Kv kv = testing::GaussianKv(spec, seed);
  for (size_t row = 0; row < kv.k.size() / 128; ++row) {
    const std::vector<float> mean = Gaussian(128, seed + 5 + static_cast<uint32_t>(row / spec.tokens), 2);
    const uint32_t token = static_cast<uint32_t>(row % spec.tokens);
    if (token % 7 == 0) continue;
    float turned[kMaxHeadDim];
    TurnToPosition(spec.rope, RopePhases(spec.rope), spec.first_position + token, mean.data(), 128, turned);
    for (uint32_t j = 0; j < 128; ++j) kv.k[128 * row + j] += turned[j];
  }
  return kv;
}

// A profile of the means that the block has itself; of layers from `first_layer` on.
KeyMeanProfilePtr ProfileOf(const BlockView& block, uint32_t first_layer = 0) {
  const BlockSpec& spec = block.spec();
  const size_t bytes = VectorRecordBytes(spec.head_dim);
  std::vector<uint8_t> records(bytes * spec.layers * spec.kv_heads);
  for (uint32_t layer = first_layer; layer < spec.layers; ++layer) {
    for (uint32_t head = 0; head < spec.kv_heads; ++head) {
      const auto* halves = reinterpret_cast<const uint8_t*>(block.KeyMean(layer, head).halves.data());
      std::copy_n(halves - sizeof(VectorRecordHead), bytes, records.begin() + (layer * spec.kv_heads + head) * bytes);
    }
  }
  return KeyMeanProfile::Make(testing::ProfileShapeFor(spec, spec.kv_heads), records).value();
}

class ProfiledBlock : public ::testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override { POLARKV_SKIP_WITHOUT(GetParam()); }
  const uint32_t seed_ = std::random_device{}();
};

struct Attended {
  std::vector<float> o, lse;
  friend bool operator==(const Attended&, const Attended&) = default;
};

TEST_P(ProfiledBlock, IsReadAsOneWithTheSameMeansOfItsOwn) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const char* codec : {"turbo4", "k=turbo3,v=turbo2", "trellis3", "k=turbo4q,v=turbo4"}) {
    for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
      BlockSpec spec = Spec(codec, pairing);
      const Kv kv = BiasedKv(spec, seed_);
      const std::vector<uint8_t> own_bytes = testing::Encode(spec, kv, {KeyMeanPolicy::kAlways, 4, true});
      const BlockView own = testing::Parse(own_bytes);
      const KeyMeanProfilePtr profile = ProfileOf(own);
      EncodeOptions options;
      options.profile = profile.get();
      std::vector<uint8_t> bytes;
      ASSERT_EQ(cpu::EncodeBlock(spec, testing::View(spec, kv.k), testing::View(spec, kv.v), options, GetParam(), bytes),
                absl::OkStatus());
      const BlockView block = BlockView::Parse(bytes, VerifyPayload::kYes, profile).value();
      EXPECT_LT(bytes.size(), own_bytes.size());

      const size_t size = ElementCount(spec) * 4;
      const auto decoded = [&](const BlockView& view) {
        std::vector<uint8_t> k(size), v(size);
        EXPECT_EQ(cpu::DecodeBlock(view, Dtype::kF32, false, k, v, GetParam()), absl::OkStatus());
        k.insert(k.end(), v.begin(), v.end());
        return k;
      };
      EXPECT_EQ(decoded(block), decoded(own)) << codec;
      const std::vector<float> q = Gaussian(4 * 3 * 128, seed_ + 1);
      const auto attended = [&](const BlockView& view) {
        Attended result{std::vector<float>(q.size(), NAN), std::vector<float>(12, NAN)};
        EXPECT_EQ(cpu::Attend({&view, 1}, 1, 4, 3, q, .09f, result.o, result.lse, GetParam()), absl::OkStatus());
        return result;
      };
      EXPECT_EQ(attended(block), attended(own)) << codec;
    }
  }
}

// Profiles with means in all layers, in one, and in none.
TEST_P(ProfiledBlock, HasTheReferencesBytes) {
  SCOPED_TRACE(testing::SeedText(seed_));
  const BlockSpec spec = Spec("turbo4", RopePairing::kHalf);
  const Kv kv = BiasedKv(spec, seed_);
  const std::vector<uint8_t> own = testing::Encode(spec, kv, {KeyMeanPolicy::kAlways, 4, true});
  for (const uint32_t first_layer : {0u, 1u, 2u}) {
    const KeyMeanProfilePtr profile = ProfileOf(testing::Parse(own), first_layer);
    for (const KeyMeanPolicy policy : {KeyMeanPolicy::kAuto, KeyMeanPolicy::kNever, KeyMeanPolicy::kAlways}) {
      const EncodeOptions options = {.key_mean = policy, .profile = profile.get()};
      std::vector<uint8_t> bytes;
      ASSERT_EQ(cpu::EncodeBlock(spec, testing::View(spec, kv.k), testing::View(spec, kv.v), options, GetParam(), bytes),
                absl::OkStatus());
      EXPECT_EQ(bytes, testing::Encode(spec, kv, options)) << first_layer;
      EXPECT_EQ(testing::Parse(bytes).spec().profile_digest, profile->digest());
    }
  }
}

TEST_P(ProfiledBlock, IsRefusedWithoutItsProfile) {
  const BlockSpec spec = Spec("turbo4", RopePairing::kHalf);
  const Kv kv = BiasedKv(spec, 1);
  const KeyMeanProfilePtr profile = ProfileOf(testing::Parse(testing::Encode(spec, kv, {KeyMeanPolicy::kAlways, 4, true})));
  EncodeOptions options;
  options.profile = profile.get();
  const std::vector<uint8_t> bytes = testing::Encode(spec, kv, options);
  const BlockView block = testing::Parse(bytes);
  std::vector<uint8_t> k(ElementCount(spec) * 2), v(k.size());
  EXPECT_TRUE(absl::IsFailedPrecondition(cpu::DecodeBlock(block, Dtype::kF16, false, k, v, GetParam())));
  EXPECT_FALSE(cuda::AttentionCodecOf(block, 0).has_value());
  std::vector<float> q(2 * 128, 1.0f), o(q.size()), lse(2);
  EXPECT_TRUE(absl::IsFailedPrecondition(cpu::Attend({&block, 1}, 0, 2, 1, q, 1, o, lse, GetParam())));
  BlockSpec named = spec;
  named.profile_digest = profile->digest();
  std::vector<uint8_t> out;
  EXPECT_TRUE(absl::IsInvalidArgument(
      cpu::EncodeBlock(named, testing::View(spec, kv.k), testing::View(spec, kv.v), {}, GetParam(), out)));
}

INSTANTIATE_TEST_SUITE_P(Sets, ProfiledBlock, ::testing::ValuesIn(cpu::kInstructionSets), testing::InstructionSetParamName);

}  // namespace
}  // namespace polarkv
