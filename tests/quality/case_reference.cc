#include "tests/quality/case_reference.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace polarkv::quality {

// Sixteen queries at a time, side by side, so that compilers vectorize without reordering any sum.
template <typename Sum>
void QueryProducts(const KvCase& kv, uint32_t q_head, std::span<const float> vectors, std::vector<Sum>& products) {
  constexpr uint32_t kLanes = 16;
  const uint32_t d = kv.head_dim;
  products.resize(size_t{kv.queries} * kv.tokens);
  std::vector<Sum> columns(size_t{d} * kLanes);
  for (uint32_t first = 0; first < kv.queries; first += kLanes) {
    const uint32_t count = std::min(kLanes, kv.queries - first);
    std::ranges::fill(columns, Sum{0});
    for (uint32_t i = 0; i < count; ++i) {
      const float* query = &kv.q[(size_t{q_head} * kv.queries + first + i) * d];
      for (uint32_t j = 0; j < d; ++j) columns[j * kLanes + i] = query[j];
    }
    for (uint32_t t = 0; t < kv.tokens; ++t) {
      std::array<Sum, kLanes> sums{};
      const float* vector = &vectors[size_t{t} * d];
      for (uint32_t j = 0; j < d; ++j) {
        const Sum x = vector[j];
        const Sum* column = &columns[j * kLanes];
        for (uint32_t i = 0; i < kLanes; ++i) sums[i] += x * column[i];
      }
      for (uint32_t i = 0; i < count; ++i) products[size_t{first + i} * kv.tokens + t] = sums[i];
    }
  }
}
template void QueryProducts(const KvCase&, uint32_t, std::span<const float>, std::vector<float>&);
template void QueryProducts(const KvCase&, uint32_t, std::span<const float>, std::vector<double>&);

std::vector<double> SoftmaxWeights(std::span<const double> logits) {
  const double top = std::ranges::max(logits);
  std::vector<double> weights(logits.size());
  double sum = 0;
  for (size_t t = 0; t < logits.size(); ++t) sum += weights[t] = std::exp(logits[t] - top);
  for (double& weight : weights) weight /= sum;
  return weights;
}

std::vector<double> WeightedSum(std::span<const double> weights, std::span<const float> values, uint32_t head_dim) {
  constexpr double kNegligible = 1e-12;
  std::vector<double> sum(head_dim);
  for (size_t t = 0; t < weights.size(); ++t) {
    if (weights[t] < kNegligible) continue;
    for (uint32_t j = 0; j < head_dim; ++j) sum[j] += weights[t] * values[t * head_dim + j];
  }
  return sum;
}

CaseReference::CaseReference(const KvCase& kv) : kv_(kv), products_(kv.rows() * kv.tokens) {
  const double scale = 1 / std::sqrt(static_cast<double>(kv.head_dim));
  std::vector<double> products, logits(kv.tokens);
  for (uint32_t head = 0; head < kv.q_heads; ++head) {
    QueryProducts(kv, head, HeadOf(kv, kv.k, head), products);
    std::ranges::copy(products, products_.begin() + static_cast<ptrdiff_t>(size_t{head} * products.size()));
    for (uint32_t query = 0; query < kv.queries; ++query) {
      const double* row = &products[size_t{query} * kv.tokens];
      std::transform(row, row + kv.tokens, logits.begin(), [scale](double x) { return x * scale; });
      const std::vector<double> output = WeightedSum(SoftmaxWeights(logits), HeadOf(kv, kv.v, head), kv.head_dim);
      outputs_.insert(outputs_.end(), output.begin(), output.end());
    }
  }
}

}  // namespace polarkv::quality
