// Exact attention over a case's own keys and values, in double precision: what every scheme is compared with.
#ifndef POLARKV_TESTS_QUALITY_CASE_REFERENCE_H_
#define POLARKV_TESTS_QUALITY_CASE_REFERENCE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "tests/quality/kv_case.h"

namespace polarkv::quality {

// products[row][t] = q_row . vectors_t for all tokens of the KV head that query head `q_head` reads; rows are its
// queries. `Sum` is what the sums are taken in.
template <typename Sum>
void QueryProducts(const KvCase& kv, uint32_t q_head, std::span<const float> vectors, std::vector<Sum>& products);

// Softmax weights of one row of logits.
std::vector<double> SoftmaxWeights(std::span<const double> logits);
// Sum of weights[t] * values[t]; `values` is [tokens][head_dim].
std::vector<double> WeightedSum(std::span<const double> weights, std::span<const float> values, uint32_t head_dim);

class CaseReference {
 public:
  explicit CaseReference(const KvCase& kv);

  const KvCase& kv() const { return kv_; }
  // q . k without a scale, [tokens]. Rows count through query heads and their queries.
  std::span<const double> Products(uint64_t row) const {
    return std::span(products_).subspan(row * kv_.tokens, kv_.tokens);
  }
  // [head_dim]
  std::span<const double> Output(uint64_t row) const {
    return std::span(outputs_).subspan(row * kv_.head_dim, kv_.head_dim);
  }

 private:
  const KvCase& kv_;
  std::vector<double> products_, outputs_;
};

// The tokens of the KV head that a query head reads.
inline std::span<const float> HeadOf(const KvCase& kv, const std::vector<float>& tensor, uint32_t q_head) {
  const size_t elements = size_t{kv.tokens} * kv.head_dim;
  return std::span(tensor).subspan(q_head / kv.group_size() * elements, elements);
}

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_CASE_REFERENCE_H_
