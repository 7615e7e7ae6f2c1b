// AMX attention over real blocks: on emulated tile registers; as compiled, its AMX instructions emulated one by one; and
// on a processor that has AMX.
#include "kernels/cpu/amx_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <tuple>

#include "codec/codec_id.h"
#include "codec/reference_codec.h"
#include "codec/rope_phase.h"
#include "kernels/cpu/amx_support.h"
#include "kernels/cpu/cpu_attention.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/turbo_head.h"
#include "tests/codec/random_kv.h"
#include "tests/kernels/amx_instruction_emulator.h"
#include "tests/kernels/rounded_attention.h"

namespace polarkv {
namespace {

using cpu::InstructionSet;
using testing::Gaussian;
using testing::Kv;

constexpr double kFloatSlack = 2e-5;  // fp32 sums and the polynomial for 2^x
// The int8 query errs by at most half a step in each rotated coordinate, evenly and independently; a logit by this many
// standard deviations of that at most.
constexpr double kQuerySigmas = 6;
constexpr double kSameBody = 2e-6;    // the same integers, the same roundings of weights; sums in another order

struct Problem {
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<BlockView> blocks;
  uint32_t rows = 1;  // of each KV head
  std::vector<float> q;
  float scale = 1;

  const BlockSpec& spec() const { return blocks[0].spec(); }
};

struct Result {
  std::vector<float> o, lse;
};

Result Compute(const Problem& p, cpu::TurboAttendBody* body) {
  const BlockSpec& spec = p.spec();
  const size_t of_head = size_t{p.rows} * spec.head_dim;
  Result r{std::vector<float>(spec.kv_heads * of_head, NAN), std::vector<float>(spec.kv_heads * size_t{p.rows}, NAN)};
  std::vector<const BlockView*> blocks;
  for (const BlockView& block : p.blocks) blocks.push_back(&block);
  cpu::TurboHead head(spec.head_dim, spec.rotation_seed, p.rows, body);
  for (uint32_t h = 0; h < spec.kv_heads; ++h) {
    head.Attend(blocks, 0, h, &p.q[h * of_head], p.scale, &r.o[h * of_head], &r.lse[size_t{h} * p.rows]);
  }
  return r;
}

Result Reference(const Problem& p) {
  Result r{std::vector<float>(p.q.size()), std::vector<float>(p.q.size() / p.spec().head_dim)};
  EXPECT_EQ(reference::Attend(p.blocks, 0, p.spec().kv_heads * p.rows, 1, p.q, p.scale, r.o, r.lse), absl::OkStatus());
  return r;
}

double LargestKeyNorm(const Problem& p) {
  double largest = 0;
  const uint32_t d = p.spec().head_dim;
  for (const BlockView& block : p.blocks) {
    const Kv kv = testing::Decode(block);
    for (size_t i = 0; i < kv.k.size(); i += d) largest = std::max(largest, std::sqrt(testing::Dot(&kv.k[i], &kv.k[i], d)));
  }
  return largest;
}

double LargestValue(const Problem& p) {
  double largest = 0;
  for (const BlockView& block : p.blocks) {
    for (float x : testing::Decode(block).v) largest = std::max(largest, std::fabs(double{x}));
  }
  return largest;
}

Problem GaussianProblem(CodecPair codec, uint32_t head_dim, uint32_t tokens, uint32_t blocks, uint32_t rows, uint32_t seed) {
  Problem p;
  BlockSpec spec = testing::OneHead(codec, head_dim, tokens);
  spec.kv_heads = 2;
  p.rows = rows;
  p.scale = 1 / std::sqrt(static_cast<float>(head_dim));
  p.q = Gaussian(size_t{2} * rows * head_dim, seed);
  for (uint32_t b = 0; b < blocks; ++b) p.bytes.push_back(testing::Encode(spec, testing::GaussianKv(spec, seed + 10 + 2 * b)));
  for (const auto& bytes : p.bytes) p.blocks.push_back(testing::Parse(bytes));
  return p;
}

enum class Tiles { kEmulated, kInstructionsEmulated, kProcessor };

std::string TilesName(const ::testing::TestParamInfo<Tiles>& info) {
  return info.param == Tiles::kEmulated ? "Emulated" : info.param == Tiles::kProcessor ? "Processor" : "InstructionsEmulated";
}

class AmxAttention : public ::testing::TestWithParam<Tiles> {
 protected:
  void SetUp() override {
    if (!cpu::Supports(InstructionSet::kAvx512)) GTEST_SKIP() << "this machine has no AVX-512 with VNNI and VBMI";
    const std::string why_not(cpu::WhyNoAmx());
    if (GetParam() == Tiles::kProcessor && !why_not.empty()) GTEST_SKIP() << why_not;
#if defined(POLARKV_HAS_AMX_BODY) && defined(__linux__)
    if (GetParam() != Tiles::kInstructionsEmulated) return;
    if (why_not.empty()) GTEST_SKIP() << "this machine has AMX: its instructions need no emulation";
    emulator_.emplace();
#else
    if (GetParam() == Tiles::kInstructionsEmulated) GTEST_SKIP() << "built without AMX instructions, or not for Linux";
#endif
  }
  void TearDown() override {
    if (emulator_.has_value()) {
      EXPECT_GT(emulator_->count(), 0u);
    }
  }

  static cpu::TurboAttendBody* Body() {
#if defined(POLARKV_HAS_AMX_BODY)
    if (GetParam() != Tiles::kEmulated) return cpu::TurboAttendAmx;
#endif
    return cpu::TurboAttendEmulatedAmx;
  }

  // Against the arithmetic in double, which leaves fp32's errors; against the body without AMX, which computes the same
  // integers; and against the reference, to which rounding queries and weights adds more: about 1 % of the output's norm for
  // Gaussian data, where a misplaced code or token is tens of per cent. `allowed`: squared.
  static void ExpectClose(const Problem& p, double allowed = 1e-3) {
    const Result fast = Compute(p, Body()), exact = Reference(p), without = Compute(p, cpu::TurboAttendAvx512);
    const double largest = LargestValue(p), key_norm = LargestKeyNorm(p);
    const uint32_t d = p.spec().head_dim;
    double error = 0, square = 0;
    for (size_t row = 0; row < fast.lse.size(); ++row) {
      const auto kv_head = static_cast<uint32_t>(row / p.rows);
      const testing::RoundedAttention model(p.blocks, kv_head, &p.q[row * d], p.scale);
      ASSERT_NEAR(fast.lse[row], model.lse, kFloatSlack * (1 + std::fabs(model.lse))) << "row " << row;
      ASSERT_NEAR(fast.lse[row], without.lse[row], kSameBody * (1 + std::fabs(without.lse[row]))) << "row " << row;
      const double step = std::sqrt(testing::Dot(&p.q[row * d], &p.q[row * d], d)) / 127;  // at most
      ASSERT_NEAR(fast.lse[row], exact.lse[row], 1e-4 + kQuerySigmas / std::sqrt(12.0) * step * key_norm * p.scale);
      for (size_t i = row * d; i < (row + 1) * d; ++i) {
        ASSERT_NEAR(fast.o[i], model.o[i - row * d], kFloatSlack * largest + model.either_way) << "row " << row;
        ASSERT_NEAR(fast.o[i], without.o[i], kSameBody * largest) << "row " << row;
        error += std::pow(fast.o[i] - exact.o[i], 2);
        square += std::pow(exact.o[i], 2);
      }
    }
    EXPECT_LE(error, allowed * square);
  }

  std::optional<testing::AmxInstructionEmulator> emulator_;
  const uint32_t seed_ = std::random_device{}();
};

INSTANTIATE_TEST_SUITE_P(All, AmxAttention,
                         ::testing::Values(Tiles::kEmulated, Tiles::kInstructionsEmulated, Tiles::kProcessor), TilesName);

TEST_P(AmxAttention, EveryCodecAndHeadDim) {
  SCOPED_TRACE(testing::SeedText(seed_));
  uint32_t rows = 5;
  for (const char* codec : {"turbo4", "turbo3", "turbo2", "k=turbo4,v=turbo2", "k=turbo2,v=turbo3", "turbo1", "turbo5",
                            "k=trellis3,v=trellis2", "k=trellis2,v=trellis1", "k=trellis1,v=trellis3", "k=turbo4,v=trellis2"}) {
    for (const uint32_t head_dim : {64u, 128u, 192u, 256u}) {
      SCOPED_TRACE(codec);
      SCOPED_TRACE(head_dim);
      ASSERT_NO_FATAL_FAILURE(ExpectClose(GaussianProblem(ParseCodecPair(codec).value(), head_dim, 200, 1, rows, seed_)));
      rows = rows % 16 + 1;
    }
  }
}

TEST_P(AmxAttention, EveryNumberOfRowsAndRaggedTiles) {
  SCOPED_TRACE(testing::SeedText(seed_));
  uint32_t rows = 1;
  for (const uint32_t tokens : {1u, 2u, 63u, 64u, 65u, 127u, 128u, 129u, 191u, 192u, 193u}) {
    for (const uint32_t more : {0u, 11u, 22u, 33u}) {
      SCOPED_TRACE(tokens);
      SCOPED_TRACE(rows + more);
      ASSERT_NO_FATAL_FAILURE(ExpectClose(GaussianProblem({CodecId::kTurbo4, CodecId::kTurbo4}, 64, tokens, 2, rows + more, seed_)));
    }
    ++rows;
  }
}

TEST_P(AmxAttention, MoreTilesThanPassesShare) {
  SCOPED_TRACE(testing::SeedText(seed_));
  const Problem p = GaussianProblem({CodecId::kTurbo4, CodecId::kTurbo3}, 64, 64 * 66 + 7, 1, 17, seed_);
  const Result fast = Compute(p, Body()), without = Compute(p, cpu::TurboAttendAvx512);
  const double largest = LargestValue(p);
  for (size_t i = 0; i < fast.o.size(); ++i) ASSERT_NEAR(fast.o[i], without.o[i], 10 * kSameBody * largest) << i;
  for (size_t i = 0; i < fast.lse.size(); ++i) ASSERT_NEAR(fast.lse[i], without.lse[i], 10 * kSameBody * 9) << i;
}

TEST_P(AmxAttention, KeyMeansAndEscapes) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const RopePairing pairing : {RopePairing::kNone, RopePairing::kHalf, RopePairing::kInterleaved}) {
    BlockSpec spec = testing::OneHead({CodecId::kTurbo4, CodecId::kTurbo3}, 128, 300);
    spec.kv_heads = 2;
    if (pairing != RopePairing::kNone) spec.rope = {pairing, 10000.0f, 96};
    Kv kv = testing::GaussianKv(spec, seed_);
    const std::vector<float> mean = Gaussian(128, seed_ + 1, 2);
    for (size_t t = 0; t < kv.k.size() / 128; ++t) {
      float turned[kMaxHeadDim];
      TurnToPosition(spec.rope, RopePhases(spec.rope), t % 300, mean.data(), 128, turned);
      for (uint32_t j = 0; j < 128; ++j) kv.k[128 * t + j] += t % 7 == 0 ? 0 : turned[j];
      if (t % 50 == 3) kv.v[128 * t + t % 128] = 200;
      if (t % 50 == 4) kv.k[128 * t + t % 128] = 40;
    }
    Problem p;
    p.rows = 19;
    p.q = Gaussian(2 * 19 * 128, seed_ + 5);
    p.scale = 1 / std::sqrt(128.0f);
    p.bytes = {testing::Encode(spec, kv)};
    p.blocks = {testing::Parse(p.bytes[0])};
    ASSERT_TRUE(p.blocks[0].layout().layer(0).key_mean);
    ASSERT_GT(p.blocks[0].layout().layer(0).escapes, 0u);
    ASSERT_NO_FATAL_FAILURE(ExpectClose(p, 2e-2));  // values of 200 weigh small differences of probabilities
  }
}

TEST_P(AmxAttention, FewerPlanes) {
  SCOPED_TRACE(testing::SeedText(seed_));
  const Problem whole = GaussianProblem({CodecId::kTurbo4, CodecId::kTurbo4}, 128, 100, 1, 9, seed_);
  const BlockLayout layout = whole.blocks[0].layout();
  for (const PlaneMask planes : {0x01u, 0x03u, 0x05u, 0x07u, 0x0Fu, 0x17u, 0x0Bu}) {
    SCOPED_TRACE(planes);
    Problem part = whole;
    part.bytes[0].clear();
    const BlockSelection selection{0, 0, planes};
    const std::vector<ByteRange> ranges = SelectionRanges(layout, selection).value();
    for (const ByteRange& range : ranges) {
      const auto first = whole.bytes[0].begin() + static_cast<ptrdiff_t>(range.offset);
      part.bytes[0].insert(part.bytes[0].end(), first, first + static_cast<ptrdiff_t>(range.length));
    }
    part.blocks = {BlockView::ParseSelection(part.bytes[0], selection, VerifyPayload::kYes).value()};
    ASSERT_NO_FATAL_FAILURE(ExpectClose(part));
  }
}

TEST_P(AmxAttention, LaterLargerLogitsTakeOver) {
  SCOPED_TRACE(testing::SeedText(seed_));
  // Keys grow along the sequence, so that nearly every tile brings a new maximum while the one before is still to be added.
  BlockSpec spec = testing::OneHead({CodecId::kTurbo4, CodecId::kTurbo4}, 128, 512);
  Kv kv = testing::GaussianKv(spec, seed_);
  const std::vector<float> q = Gaussian(128, seed_ + 5);
  for (uint32_t t = 0; t < spec.tokens; ++t) {
    for (uint32_t j = 0; j < 128; ++j) kv.k[t * 128 + j] = 0.1f * kv.k[t * 128 + j] + q[j] * 0.0002f * static_cast<float>(t);
  }
  Problem p;
  p.rows = 6;
  p.scale = 1 / std::sqrt(128.0f);
  for (uint32_t row = 0; row < p.rows; ++row) p.q.insert(p.q.end(), q.begin(), q.end());
  p.bytes = {testing::Encode(spec, kv)};
  p.blocks = {testing::Parse(p.bytes[0])};
  ExpectClose(p);
}

TEST_P(AmxAttention, ZeroKeysValuesAndQueries) {
  const BlockSpec spec = testing::OneHead({CodecId::kTurbo4, CodecId::kTurbo4}, 128, 65);
  const size_t n = testing::ElementCount(spec);
  const auto all_zero = [&](const Kv& kv, std::vector<float> q) {
    Problem p;
    p.rows = 7;
    p.q = std::move(q);
    p.bytes = {testing::Encode(spec, kv)};
    p.blocks = {testing::Parse(p.bytes[0])};
    return Compute(p, Body());
  };
  for (float x : all_zero({Gaussian(n, 1), std::vector<float>(n, 0.0f)}, Gaussian(7 * 128, 2)).o) EXPECT_EQ(x, 0);
  const Result zero_query = all_zero({Gaussian(n, 1), Gaussian(n, 2)}, std::vector<float>(7 * 128, 0.0f));
  for (float x : zero_query.lse) EXPECT_NEAR(x, std::log(65.0), 1e-5);
  const Result zero_keys = all_zero({std::vector<float>(n, 0.0f), Gaussian(n, 2)}, Gaussian(7 * 128, 3));
  for (float x : zero_keys.lse) EXPECT_NEAR(x, std::log(65.0), 1e-5);
}

TEST_P(AmxAttention, HasTheBitsOfEmulatedTiles) {
  SCOPED_TRACE(testing::SeedText(seed_));
  for (const uint32_t rows : {5u, 16u, 40u}) {
    const Problem p = GaussianProblem({CodecId::kTurbo3, CodecId::kTurbo4}, 128, 300, 2, rows, seed_);
    const Result fast = Compute(p, Body()), emulated = Compute(p, cpu::TurboAttendEmulatedAmx);
    EXPECT_EQ(fast.o, emulated.o);
    EXPECT_EQ(fast.lse, emulated.lse);
  }
}

TEST_P(AmxAttention, CallsTakeItForMoreThanFourRows) {
  if (GetParam() == Tiles::kEmulated) GTEST_SKIP() << "calls do not take emulated tiles";
  const auto expect = [&](uint32_t head_dim, uint32_t rows, cpu::TurboAttendBody* body) {
    const Problem p = GaussianProblem({CodecId::kTurbo4, CodecId::kTurbo4}, head_dim, 300, 1, rows, seed_);
    const Result expected = Compute(p, body);
    Result r{std::vector<float>(p.q.size()), std::vector<float>(expected.lse.size())};
    ASSERT_EQ(cpu::Attend(p.blocks, 0, 2 * rows, 1, p.q, p.scale, r.o, r.lse, InstructionSet::kAmx), absl::OkStatus());
    EXPECT_EQ(r.o, expected.o);
  };
  expect(128, 4, cpu::TurboAttendAvx512);
  expect(128, 5, Body());
  expect(96, 16, cpu::TurboAttendAvx512);  // not a multiple of 64
}

}  // namespace
}  // namespace polarkv
