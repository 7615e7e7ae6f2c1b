// Attention in double over decoded keys and values: what attention on blocks must equal.
#ifndef POLARKV_TESTS_CODEC_EXACT_ATTENTION_H_
#define POLARKV_TESTS_CODEC_EXACT_ATTENTION_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/codec/random_kv.h"

namespace polarkv::testing {

struct ExactRow {
  std::vector<double> o;
  double lse = 0;
  double logit_size = 0;  // largest sum of |q_i k_i| times the scale: what relative errors of q or k multiply
  double value_size = 0;  // largest |v|
};

// One query over `tokens` contiguous keys and values of one head.
inline ExactRow AttendExactly(const float* q, const float* k, const float* v, size_t tokens, uint32_t head_dim,
                              double scale) {
  ExactRow row;
  row.o.resize(head_dim);
  std::vector<double> logit(tokens);
  for (size_t t = 0; t < tokens; ++t) {
    double size = 0;
    for (uint32_t j = 0; j < head_dim; ++j) {
      logit[t] += scale * q[j] * k[t * head_dim + j];
      size += std::fabs(scale * q[j] * k[t * head_dim + j]);
    }
    row.logit_size = std::max(row.logit_size, size);
  }
  const double top = *std::max_element(logit.begin(), logit.end());
  double total = 0;
  for (size_t t = 0; t < tokens; ++t) {
    const double weight = std::exp(logit[t] - top);
    total += weight;
    for (uint32_t j = 0; j < head_dim; ++j) {
      row.o[j] += weight * v[t * head_dim + j];
      row.value_size = std::max(row.value_size, std::fabs(double{v[t * head_dim + j]}));
    }
  }
  for (double& value : row.o) value /= total;
  row.lse = top + std::log(total);
  return row;
}

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_CODEC_EXACT_ATTENTION_H_
