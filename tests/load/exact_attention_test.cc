#include "client/load/exact_attention.h"

#include <cmath>
#include <vector>

#include "client/load/mixing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace polarkv::load {
namespace {

constexpr AttentionShape kShape{2, 2, 4, 16};

std::vector<float> Draw(uint64_t seed, size_t count) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.Uniform() * 4 - 2);
  return values;
}

// Softmax as written in the textbook, one row.
struct Row {
  std::vector<double> output;
  double lse = 0;
};
Row Textbook(const float* q, const float* k, const float* v, uint32_t tokens, uint32_t d) {
  std::vector<double> weights(tokens);
  double total = 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    double score = 0;
    for (uint32_t i = 0; i < d; ++i) score += static_cast<double>(q[i]) * k[t * d + i];
    total += weights[t] = std::exp(score / std::sqrt(static_cast<double>(d)));
  }
  Row row{std::vector<double>(d, 0.0), std::log(total)};
  for (uint32_t t = 0; t < tokens; ++t) {
    for (uint32_t i = 0; i < d; ++i) row.output[i] += weights[t] / total * v[t * d + i];
  }
  return row;
}

TEST(ExactAttentionTest, EqualsTheTextbookForEveryLayerAndGroupedHead) {
  constexpr uint32_t kTokens = 50;
  const std::vector<float> q = Draw(1, kShape.query_values());
  const std::vector<float> k = Draw(2, 2 * 2 * kTokens * 16), v = Draw(3, 2 * 2 * kTokens * 16);
  ExactAttention attention(kShape, q);
  attention.Add(k, v, kTokens);
  const std::vector<double> output = attention.Output(), lse = attention.LogSumExp();
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (uint32_t head = 0; head < 4; ++head) {
      const size_t row = layer * 4 + head, kv = (layer * 2 + head / 2) * kTokens * 16;
      const Row expected = Textbook(&q[row * 16], &k[kv], &v[kv], kTokens, 16);
      EXPECT_NEAR(lse[row], expected.lse, 1e-12);
      for (uint32_t i = 0; i < 16; ++i) EXPECT_NEAR(output[row * 16 + i], expected.output[i], 1e-12);
    }
  }
}

TEST(ExactAttentionTest, RunsOfTokensAddUpToTheWhole) {
  constexpr AttentionShape kOne{1, 1, 1, 16};
  const std::vector<float> q = Draw(4, 16), k = Draw(5, 30 * 16), v = Draw(6, 30 * 16);
  ExactAttention whole(kOne, q), parts(kOne, q);
  whole.Add(k, v, 30);
  parts.Add(std::span(k).first(7 * 16), std::span(v).first(7 * 16), 7);
  parts.Add(std::span(k).subspan(7 * 16), std::span(v).subspan(7 * 16), 23);
  for (uint32_t i = 0; i < 16; ++i) EXPECT_NEAR(whole.Output()[i], parts.Output()[i], 1e-13);
  EXPECT_NEAR(whole.LogSumExp()[0], parts.LogSumExp()[0], 1e-13);
}

TEST(ExactAttentionTest, NothingAttendedIsZeroAndMinusInfinity) {
  constexpr AttentionShape kOne{1, 1, 1, 16};
  const std::vector<float> q = Draw(4, 16);
  const ExactAttention attention(kOne, q);
  EXPECT_EQ(attention.Output()[0], 0.0);
  EXPECT_EQ(attention.LogSumExp()[0], -std::numeric_limits<double>::infinity());
}

TEST(ExactAttentionTest, LargeScoresDoNotOverflow) {
  constexpr AttentionShape kOne{1, 1, 1, 16};
  const std::vector<float> q(16, 1000.0f), v = Draw(6, 2 * 16);
  std::vector<float> k(2 * 16, 0.0f);
  for (size_t i = 16; i < 32; ++i) k[i] = 1000.0f;
  ExactAttention attention(kOne, q);
  attention.Add(k, v, 2);
  for (uint32_t i = 0; i < 16; ++i) EXPECT_EQ(attention.Output()[i], static_cast<double>(v[16 + i]));
}

}  // namespace
}  // namespace polarkv::load
