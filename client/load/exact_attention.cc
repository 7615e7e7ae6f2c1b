#include "client/load/exact_attention.h"

#include <cmath>
#include <limits>

namespace polarkv::load {

ExactAttention::ExactAttention(const AttentionShape& shape, std::span<const float> q)
    : shape_(shape),
      q_(q),
      sum_(shape.query_values(), 0.0),
      top_(shape.rows(), -std::numeric_limits<double>::infinity()),
      weight_(shape.rows(), 0.0) {}

void ExactAttention::AddRow(uint64_t row, const float* q, const float* k, const float* v, uint32_t tokens) {
  const uint32_t d = shape_.head_dim;
  const double scale = 1.0 / std::sqrt(static_cast<double>(d));
  double* sum = sum_.data() + row * d;
  for (uint32_t token = 0; token < tokens; ++token, k += d, v += d) {
    double score = 0;
    for (uint32_t i = 0; i < d; ++i) score += static_cast<double>(q[i]) * k[i];
    score *= scale;
    if (score > top_[row]) {
      const double shrink = std::exp(top_[row] - score);
      weight_[row] *= shrink;
      for (uint32_t i = 0; i < d; ++i) sum[i] *= shrink;
      top_[row] = score;
    }
    const double weight = std::exp(score - top_[row]);
    weight_[row] += weight;
    for (uint32_t i = 0; i < d; ++i) sum[i] += weight * v[i];
  }
}

void ExactAttention::Add(std::span<const float> k, std::span<const float> v, uint32_t tokens) {
  const uint32_t group = shape_.q_heads / shape_.kv_heads;
  for (uint32_t layer = 0; layer < shape_.layers; ++layer) {
    for (uint32_t head = 0; head < shape_.q_heads; ++head) {
      const uint64_t row = uint64_t{layer} * shape_.q_heads + head;
      const uint64_t start = (uint64_t{layer} * shape_.kv_heads + head / group) * tokens * shape_.head_dim;
      AddRow(row, q_.data() + row * shape_.head_dim, k.data() + start, v.data() + start, tokens);
    }
  }
}

std::vector<double> ExactAttention::Output() const {
  std::vector<double> output = sum_;
  for (size_t i = 0; i < output.size(); ++i) {
    const double weight = weight_[i / shape_.head_dim];
    output[i] = weight > 0 ? output[i] / weight : 0.0;
  }
  return output;
}

std::vector<double> ExactAttention::LogSumExp() const {
  std::vector<double> lse(top_);
  for (size_t row = 0; row < lse.size(); ++row) lse[row] += std::log(weight_[row]);
  return lse;
}

}  // namespace polarkv::load
