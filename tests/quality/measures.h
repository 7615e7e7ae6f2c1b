// How far a reconstruction is from the case it was made of.
#ifndef POLARKV_TESTS_QUALITY_MEASURES_H_
#define POLARKV_TESTS_QUALITY_MEASURES_H_

#include <span>

#include "tests/quality/case_reference.h"
#include "tests/quality/scheme.h"

namespace polarkv::quality {

struct Measures {
  // Sum of squared errors over sum of squares.
  double key_error = 0;
  double value_error = 0;
  // Inner products of a unit key with unit queries: the slope of the estimate on the truth, and d * E[err^2] for
  // queries that are independent of the key, and for queries at cosine 1/2 to it. The expectation over the other
  // directions of the query is taken exactly: with a = <k,k^>/|k|^2 and b the part of k^/|k| orthogonal to k,
  //   E[err^2] = c^2 (a - 1)^2 + (1 - c^2) |b|^2 / (d - 1) at cosine c, and ((a - 1)^2 + |b|^2) / d if independent.
  double unit_slope = 0;
  double unit_error_independent = 0;
  double unit_error_half = 0;
  // q.k of the case's own queries, those that are independent of the keys if it has such: slope of the estimate on the
  // truth, and variance of the error over |q|^2, which is d on average for N(0, I); over tokens, each query's mean
  // removed.
  double logit_slope = 0;
  double logit_variance = 0;
  // Means over all queries, logits scaled by 1/sqrt(d).
  double attention_kl = 0;  // of exact weights to estimated ones, nats
  double top1 = 0;          // how often the largest weight is the same token's
  double top8 = 0;          // share of the eight largest that both have
  double output_error = 0;  // root of the mean of |o^ - o|^2 / |o|^2
};

struct MeasureField {
  const char* name;  // in reports
  double Measures::*value;
};
std::span<const MeasureField> MeasureFields();

Measures Measure(const CaseReference& reference, const Reconstruction& reconstruction);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_MEASURES_H_
