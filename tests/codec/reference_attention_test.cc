#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "codec/attention_state.h"
#include "tests/codec/codec_cases.h"
#include "tests/codec/exact_attention.h"
#include "tests/codec/partial_block.h"
#include "tests/codec/random_kv.h"

namespace polarkv {
namespace {

using testing::AttendExactly;
using testing::Decode;
using ::testing::Each;
using testing::Encode;
using testing::ExactRow;
using testing::Gaussian;
using testing::GaussianKv;
using ::testing::HasSubstr;
using testing::Kv;
using testing::OneHead;
using testing::Parse;
using testing::SeedText;
using testing::SpecText;

// Decoding rounds each coordinate, and its constant 1/sqrt(B), to float: 2^-24 each, of keys and of values.
constexpr double kDecodeRounding = 0x1p-23;
// Outputs and log-sum-exps are rounded to float.
constexpr double kFloatRounding = 0x1p-24;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct Attention {
  std::vector<float> o, lse;
};

Attention AttendTo(std::span<const BlockView> blocks, const std::vector<float>& q, uint32_t q_heads, uint32_t queries,
                   float scale, uint32_t layer = 0) {
  const size_t rows = size_t{q_heads} * queries;
  Attention out{std::vector<float>(q.size(), NAN), std::vector<float>(rows, NAN)};
  EXPECT_EQ(reference::Attend(blocks, layer, q_heads, queries, q, scale, out.o, out.lse), absl::OkStatus());
  return out;
}

// Rows [first, first + rows) of `out` against exact attention of their queries over one head's decoded keys and values.
void ExpectExact(const Attention& out, const std::vector<float>& q, size_t first, size_t rows, const float* k,
                 const float* v, size_t tokens, uint32_t head_dim, float scale) {
  for (size_t i = first; i < first + rows; ++i) {
    const ExactRow exact = AttendExactly(&q[i * head_dim], k, v, tokens, head_dim, scale);
    const double logit_error = exact.logit_size * kDecodeRounding;
    ASSERT_NEAR(out.lse[i], exact.lse, logit_error + std::fabs(exact.lse) * kFloatRounding);
    // A weight is off by a factor exp(2 * logit_error) at most, numerator and denominator together.
    const double tolerance = exact.value_size * (2 * logit_error + kDecodeRounding + kFloatRounding);
    for (uint32_t j = 0; j < head_dim; ++j)
      ASSERT_NEAR(out.o[i * head_dim + j], exact.o[j], tolerance) << i << " " << j;
  }
}

class AttendOn : public ::testing::TestWithParam<testing::CodecCase> {};

TEST_P(AttendOn, ABlockEqualsDecodingAndExactAttention) {
  for (BlockSpec spec : GetParam().Specs()) {
    spec.kv_heads = 2;
    const uint32_t seed = 500 + spec.head_dim + spec.tokens;
    SCOPED_TRACE(SpecText(spec) + ", " + SeedText(seed));
    const std::vector<uint8_t> bytes = Encode(spec, GaussianKv(spec, seed));
    const BlockView block = Parse(bytes);
    const Kv decoded = Decode(block);
    const std::vector<float> q = Gaussian(4 * 2 * spec.head_dim, seed + 2);
    const float scale = 1 / std::sqrt(static_cast<float>(spec.head_dim));
    const Attention out = AttendTo({&block, 1}, q, 4, 2, scale);
    for (size_t head = 0; head < 2; ++head) {
      const size_t at = head * spec.tokens * spec.head_dim;
      ExpectExact(out, q, head * 4, 4, &decoded.k[at], &decoded.v[at], spec.tokens, spec.head_dim, scale);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttendOn, ::testing::ValuesIn(testing::AllCodecCases()), testing::CodecCaseName);

class AttendWith : public ::testing::TestWithParam<CodecId> {
 protected:
  BlockSpec Spec(uint32_t kv_heads, uint32_t tokens) const {
    BlockSpec spec = OneHead(testing::ForBothSides(GetParam()), 64, tokens);
    spec.kv_heads = static_cast<uint16_t>(kv_heads);
    return spec;
  }
};

TEST_P(AttendWith, AGroupOfQueryHeadsEqualsCopiesOfTheKvHead) {
  constexpr uint32_t kGroup = 4;
  const BlockSpec shared = Spec(2, 100), copied = Spec(2 * kGroup, 100);
  const Kv kv = GaussianKv(shared, 600);
  Kv copies;
  const size_t head_size = 100 * 64;
  for (uint32_t head = 0; head < 2 * kGroup; ++head) {
    const size_t from = head / kGroup * head_size;
    copies.k.insert(copies.k.end(), kv.k.begin() + from, kv.k.begin() + from + head_size);
    copies.v.insert(copies.v.end(), kv.v.begin() + from, kv.v.begin() + from + head_size);
  }
  const std::vector<uint8_t> shared_bytes = Encode(shared, kv), copied_bytes = Encode(copied, copies);
  const BlockView shared_block = Parse(shared_bytes), copied_block = Parse(copied_bytes);
  const std::vector<float> q = Gaussian(2 * kGroup * 3 * 64, 602);
  const Attention a = AttendTo({&shared_block, 1}, q, 2 * kGroup, 3, .125f);
  const Attention b = AttendTo({&copied_block, 1}, q, 2 * kGroup, 3, .125f);
  EXPECT_EQ(a.o, b.o);
  EXPECT_EQ(a.lse, b.lse);
}

TEST_P(AttendWith, BlocksInAnyOrderMergeToTheWhole) {
  const uint32_t seed = 610;
  SCOPED_TRACE(SeedText(seed));
  std::mt19937 random(seed);
  std::vector<std::vector<uint8_t>> bytes;
  for (uint32_t tokens : {64u, 1u, 130u, 65u, 64u, 40u}) {
    const BlockSpec spec = Spec(1, tokens);
    bytes.push_back(Encode(spec, GaussianKv(spec, seed + tokens)));
  }
  std::vector<BlockView> blocks;
  for (const auto& b : bytes) blocks.push_back(Parse(b));
  const std::vector<float> q = Gaussian(2 * 64, seed, 3);
  const Attention whole = AttendTo(blocks, q, 2, 1, .125f);
  for (int round = 0; round < 10; ++round) {
    std::shuffle(blocks.begin(), blocks.end(), random);
    Attention merged{std::vector<float>(q.size()), std::vector<float>(2, kMinusInfinity)};
    for (const BlockView& block : blocks) {
      const Attention part = AttendTo({&block, 1}, q, 2, 1, .125f);
      for (size_t row = 0; row < 2; ++row) {
        MergeAttention(&merged.o[row * 64], &merged.lse[row], &part.o[row * 64], part.lse[row], 64);
      }
    }
    // Each of six merges rounds lse (|lse| < 16: 2^-20), which shifts weights by as much, and a few times the output.
    constexpr double kMergeTolerance = 6 * 2 * 0x1p-20;
    for (size_t i = 0; i < q.size(); ++i) EXPECT_NEAR(merged.o[i], whole.o[i], 4 * kMergeTolerance);
    for (size_t row = 0; row < 2; ++row) EXPECT_NEAR(merged.lse[row], whole.lse[row], kMergeTolerance);
    const Attention shuffled = AttendTo(blocks, q, 2, 1, .125f);
    for (size_t i = 0; i < q.size(); ++i) EXPECT_NEAR(shuffled.o[i], whole.o[i], 4 * kFloatRounding);
  }
}

TEST_P(AttendWith, LogitsOfAnySizePickTheLargestTokensValue) {
  const BlockSpec spec = Spec(1, 80);
  Kv kv = GaussianKv(spec, 620);
  for (uint32_t j = 0; j < 64; ++j) {
    for (uint32_t t = 0; t < 80; ++t) kv.k[t * 64 + j] *= t == 70 ? 1e18f : 1e3f;
  }
  const std::vector<float> q(kv.k.begin() + 70 * 64, kv.k.begin() + 71 * 64);
  const std::vector<uint8_t> bytes = Encode(spec, kv);
  const BlockView block = Parse(bytes);
  const Kv decoded = Decode(block);
  const Attention out = AttendTo({&block, 1}, q, 1, 1, .125f);
  for (uint32_t j = 0; j < 64; ++j) EXPECT_NEAR(out.o[j], decoded.v[70 * 64 + j], 5 * kDecodeRounding);
  EXPECT_GT(out.lse[0], 1e35f);
}

TEST_P(AttendWith, AScaleOfZeroAveragesTheValues) {
  const BlockSpec spec = Spec(1, 130);
  const std::vector<uint8_t> bytes = Encode(spec, GaussianKv(spec, 630));
  const BlockView block = Parse(bytes);
  const Kv decoded = Decode(block);
  const std::vector<float> q = Gaussian(64, 631);
  const Attention out = AttendTo({&block, 1}, q, 1, 1, 0);
  EXPECT_NEAR(out.lse[0], std::log(130.0), 1e-6);
  ExpectExact(out, q, 0, 1, decoded.k.data(), decoded.v.data(), 130, 64, 0);
}

TEST_P(AttendWith, EveryLayerIsItsOwn) {
  BlockSpec spec = Spec(2, 65);
  spec.layers = 3;
  const std::vector<uint8_t> bytes = Encode(spec, GaussianKv(spec, 640));
  const BlockSelection selection{1, 3, kAllPlanes};
  const std::vector<uint8_t> part_bytes = testing::SelectBytes(bytes, selection);
  const BlockView whole = Parse(bytes), part = testing::ParsePart(part_bytes, selection);
  const Kv decoded = Decode(whole);
  const std::vector<float> q = Gaussian(2 * 64, 641);
  for (uint32_t layer : {1u, 2u}) {
    const Attention a = AttendTo({&whole, 1}, q, 2, 1, .125f, layer);
    const Attention b = AttendTo({&part, 1}, q, 2, 1, .125f, layer);
    EXPECT_EQ(a.o, b.o);
    for (size_t head = 0; head < 2; ++head) {
      const size_t at = (layer * 2 + head) * 65 * 64;
      ExpectExact(a, q, head, 1, &decoded.k[at], &decoded.v[at], 65, 64, .125f);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, AttendWith, ::testing::ValuesIn(testing::AllCodecsVector()), testing::CodecParamName);

TEST(AttendOnPlanes, ReadsWhateverPlanesAreHeld) {
  for (CodecId codec : {CodecId::kTurbo2, CodecId::kTurbo3, CodecId::kTurbo4}) {
    const BlockSpec spec = OneHead(testing::ForBothSides(codec), 96, 130);
    const std::vector<uint8_t> bytes = Encode(spec, GaussianKv(spec, 650));
    const std::vector<float> q = Gaussian(96, 651);
    const PlaneMask keys_at_3 = testing::PlanesForBits(2) | PlaneBit(PlaneKind::kKeyRefine1);
    for (PlaneMask planes :
         {testing::PlanesForBits(2), testing::PlanesForBits(3), testing::PlanesForBits(4), keys_at_3}) {
      const BlockSelection selection{0, 0, planes};
      const std::vector<uint8_t> part_bytes = testing::SelectBytes(bytes, selection);
      const BlockView part = testing::ParsePart(part_bytes, selection);
      std::vector<float> k(130 * 96), v(130 * 96);
      ASSERT_EQ(reference::DecodeBlock(part, k, v), absl::OkStatus());
      const Attention out = AttendTo({&part, 1}, q, 1, 1, .1f);
      ExpectExact(out, q, 0, 1, k.data(), v.data(), 130, 96, .1f);
    }
  }
}

TEST(AttendOnPlanes, FewerPlanesErrAsTheirMergedCodebooksShould) {
  const uint32_t seed = 660;
  SCOPED_TRACE(SeedText(seed));
  struct Expected {
    CodecId codec;
    uint32_t bits;
    double distortion;  // of N(0,1), by integration; the scale stays that of the full code
  };
  for (const Expected& e : {Expected{CodecId::kTurbo4, 3, .0349}, Expected{CodecId::kTurbo4, 2, .1209},
                            Expected{CodecId::kTurbo3, 2, .1185}}) {
    const BlockSpec spec = OneHead({e.codec, e.codec}, 256, 512);
    const Kv kv = GaussianKv(spec, seed);
    const std::vector<uint8_t> bytes = Encode(spec, kv);
    const BlockSelection selection{0, 0, testing::PlanesForBits(e.bits)};
    const std::vector<uint8_t> part_bytes = testing::SelectBytes(bytes, selection);
    std::vector<float> k(kv.k.size()), v(kv.v.size());
    ASSERT_EQ(reference::DecodeBlock(testing::ParsePart(part_bytes, selection), k, v), absl::OkStatus());
    // Values have norm 1, not the projection 1 - D, and a finite head_dim has slightly less distortion: 3 %.
    EXPECT_NEAR(testing::RelativeSquaredError(kv.v.data(), v.data(), v.size()) / e.distortion, 1, .03);
  }
}

TEST(AttendOnMixedBlocks, CodecsAndRotationsMayDiffer) {
  const uint32_t seed = 670;
  SCOPED_TRACE(SeedText(seed));
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<float> k, v;
  for (CodecId codec : testing::AllCodecsVector()) {
    BlockSpec spec = OneHead({codec, CodecId::kTurbo3}, 128, 70);
    spec.rotation_seed = static_cast<uint64_t>(codec) * 77;
    bytes.push_back(Encode(spec, GaussianKv(spec, seed + static_cast<uint32_t>(codec))));
    const Kv decoded = Decode(Parse(bytes.back()));
    k.insert(k.end(), decoded.k.begin(), decoded.k.end());
    v.insert(v.end(), decoded.v.begin(), decoded.v.end());
  }
  std::vector<BlockView> blocks;
  for (const auto& b : bytes) blocks.push_back(Parse(b));
  const std::vector<float> q = Gaussian(128, seed);
  ExpectExact(AttendTo(blocks, q, 1, 1, .088f), q, 0, 1, k.data(), v.data(), k.size() / 128, 128, .088f);
}

TEST(UnverifiedBlocks, ArbitraryPayloadIsReadWithoutHarm) {
  // Numbers may come out that are not finite; under the sanitizers nothing else may happen.
  const uint32_t seed = 680;
  SCOPED_TRACE(SeedText(seed));
  std::mt19937 random(seed);
  for (const testing::CodecCase& c : testing::AllCodecCases()) {
    const BlockSpec spec = testing::OneHead(c.codec, c.head_dim, 70);
    std::vector<uint8_t> bytes = Encode(spec, GaussianKv(spec, seed));
    const uint64_t payload = Parse(bytes).layout().payload_offset();
    for (uint64_t i = payload; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(random());
    const absl::StatusOr<BlockView> block = BlockView::Parse(bytes, VerifyPayload::kNo);
    ASSERT_TRUE(block.ok()) << block.status();
    std::vector<float> k(70 * c.head_dim), v(70 * c.head_dim);
    EXPECT_EQ(reference::DecodeBlock(*block, k, v), absl::OkStatus());
    AttendTo({&*block, 1}, Gaussian(c.head_dim, seed), 1, 1, .1f);
  }
}

TEST(MergeAttention, AnEmptySideChangesNothingAndTwoStayEmpty) {
  const std::vector<float> value = {1, -2}, zero = {0, 0};
  std::vector<float> o = value;
  float lse = 3;
  MergeAttention(o.data(), &lse, zero.data(), kMinusInfinity, 2);
  EXPECT_EQ(o, value);
  EXPECT_EQ(lse, 3);
  o = zero;
  lse = kMinusInfinity;
  MergeAttention(o.data(), &lse, value.data(), 3, 2);
  EXPECT_EQ(o, value);
  EXPECT_EQ(lse, 3);
  o = zero;
  lse = kMinusInfinity;
  MergeAttention(o.data(), &lse, zero.data(), kMinusInfinity, 2);
  EXPECT_EQ(o, zero);
  EXPECT_EQ(lse, kMinusInfinity);
}

TEST(MergeAttention, SaturatedOutputsStayFinite) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  for (const float lse_b : {3.0f, 2.3f, 3.7f, -40.0f}) {
    std::vector<float> o = {kLargest, -kLargest, kLargest};
    const std::vector<float> other = {kLargest, -kLargest, -kLargest};
    float lse = 3;
    MergeAttention(o.data(), &lse, other.data(), lse_b, 3);
    EXPECT_NEAR(o[0] / kLargest, 1, 0x1p-22) << lse_b;
    EXPECT_NEAR(o[1] / kLargest, -1, 0x1p-22) << lse_b;
    EXPECT_LE(std::fabs(o[2]), kLargest) << lse_b;
  }
}

TEST(AttendInput, NoBlocksGiveAnEmptyState) {
  const Attention out = AttendTo({}, Gaussian(2 * 64, 1), 2, 1, 1);
  EXPECT_THAT(out.o, Each(0.0f));
  EXPECT_THAT(out.lse, Each(kMinusInfinity));
}

class AttendErrors : public ::testing::Test {
 protected:
  AttendErrors() {
    BlockSpec spec = OneHead({CodecId::kTurbo4, CodecId::kTurbo4}, 64, 10);
    spec.kv_heads = 2;
    bytes_ = Encode(spec, GaussianKv(spec, 1));
    spec.first_kv_head = 2;
    shard_bytes_ = Encode(spec, GaussianKv(spec, 1));
    spec.head_dim = 128;
    wide_bytes_ = Encode(spec, GaussianKv(spec, 1));
    blocks_ = {Parse(bytes_)};
  }
  void ExpectInvalid(uint32_t layer, uint32_t q_heads, size_t floats, const std::string& text, float scale = 1) {
    q_.resize(floats);
    std::vector<float> o(floats), lse(q_heads);
    const absl::Status status = reference::Attend(blocks_, layer, q_heads, 1, q_, scale, o, lse);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  }
  std::vector<uint8_t> bytes_, shard_bytes_, wide_bytes_;
  std::vector<BlockView> blocks_;
  std::vector<float> q_;
};

TEST_F(AttendErrors, EachHasItsMessage) {
  ExpectInvalid(0, 3, 3 * 64, "q_heads = 3 is not a positive multiple of the blocks' 2 KV heads");
  ExpectInvalid(0, 2, 2 * 64 + 1, "q and o need 2 heads");
  ExpectInvalid(1, 2, 2 * 64, "layer 1 is not among them");
  ExpectInvalid(0, 2, 2 * 64, "scale is not finite", std::numeric_limits<float>::infinity());
  blocks_.push_back(Parse(shard_bytes_));
  ExpectInvalid(0, 2, 2 * 64, "block 1 begins with KV head 2, block 0 with 0; attend to each shard on its own");
  blocks_[1] = Parse(wide_bytes_);
  ExpectInvalid(0, 2, 2 * 64, "block 1 has 2 KV heads of dim 128, block 0 has 2 of 64");
}

TEST_F(AttendErrors, QueriesThatAreNotFiniteAreNamed) {
  q_.assign(2 * 64, 1);
  q_[64 + 5] = NAN;
  ExpectInvalid(0, 2, 2 * 64, "query is not finite (nan) at head 1, query 0, coordinate 5");
}

TEST_F(AttendErrors, OutputsOfAnotherSizeAreRefused) {
  std::vector<float> q(2 * 64), o(2 * 64), lse(2);
  EXPECT_EQ(reference::Attend(blocks_, 0, 2, 1, q, 1, std::span(o).first(100), lse).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(reference::Attend(blocks_, 0, 2, 1, q, 1, o, std::span(lse).first(1)).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace polarkv
