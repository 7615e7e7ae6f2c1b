#include "tests/quality/measures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

namespace polarkv::quality {
namespace {

double RelativeError(const std::vector<float>& exact, const std::vector<float>& estimate) {
  double error = 0, square = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error += std::pow(double{estimate[i]} - exact[i], 2);
    square += std::pow(double{exact[i]}, 2);
  }
  return square > 0 ? error / square : error;
}

void MeasureUnitProducts(const KvCase& kv, const std::vector<float>& estimate, Measures& measures) {
  const uint32_t d = kv.head_dim;
  constexpr double kCosine = .5;
  uint64_t keys = 0;
  for (size_t row = 0; row < kv.k.size(); row += d) {
    double square = 0, product = 0, estimate_square = 0;
    for (uint32_t j = 0; j < d; ++j) {
      const double x = kv.k[row + j], y = estimate[row + j];
      square += x * x;
      product += x * y;
      estimate_square += y * y;
    }
    if (square == 0) continue;
    const double along = product / square;
    const double across = std::max(0.0, estimate_square / square - along * along);
    const double bias = (along - 1) * (along - 1);
    measures.unit_slope += along;
    measures.unit_error_independent += bias + across;
    measures.unit_error_half += d * (kCosine * kCosine * bias + (1 - kCosine * kCosine) * across / (d - 1));
    ++keys;
  }
  if (keys == 0) return;
  for (double* sum : {&measures.unit_slope, &measures.unit_error_independent, &measures.unit_error_half}) {
    *sum /= static_cast<double>(keys);
  }
}

// Sums over queries, to be divided at the end.
struct LogitSums {
  double error_square = 0, query_square = 0;  // for the variance
  double cross = 0, square = 0;               // for the slope
};

void AddLogits(std::span<const double> exact, std::span<const float> errors, std::span<const float> query,
               LogitSums& sums) {
  const double count = static_cast<double>(exact.size());
  const double mean = std::accumulate(exact.begin(), exact.end(), 0.0) / count;
  const double mean_error = std::accumulate(errors.begin(), errors.end(), 0.0) / count;
  double square = 0;
  for (size_t t = 0; t < exact.size(); ++t) {
    const double truth = exact[t] - mean, error = errors[t] - mean_error;
    square += error * error;
    sums.cross += truth * (truth + error);
    sums.square += truth * truth;
  }
  sums.error_square += square / count;
  for (float x : query) sums.query_square += double{x} * x;
}

double Divergence(const std::vector<double>& exact, const std::vector<double>& estimate) {
  double sum = 0;
  for (size_t t = 0; t < exact.size(); ++t) {
    if (exact[t] > 0) sum += exact[t] * std::log(exact[t] / std::max(estimate[t], 1e-300));
  }
  return sum;
}

// Tokens of the largest weights, largest first.
std::vector<uint32_t> Largest(const std::vector<double>& weights) {
  std::vector<uint32_t> tokens(weights.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  const ptrdiff_t count = std::min<ptrdiff_t>(8, static_cast<ptrdiff_t>(tokens.size()));
  std::partial_sort(tokens.begin(), tokens.begin() + count, tokens.end(),
                    [&weights](uint32_t a, uint32_t b) { return weights[a] > weights[b]; });
  tokens.resize(static_cast<size_t>(count));
  return tokens;
}

void AddRanks(const std::vector<double>& exact, const std::vector<double>& estimate, Measures& measures) {
  const std::vector<uint32_t> wanted = Largest(exact), found = Largest(estimate);
  measures.top1 += wanted[0] == found[0] ? 1 : 0;
  const auto both = std::ranges::count_if(wanted, [&](uint32_t t) { return std::ranges::count(found, t) != 0; });
  measures.top8 += static_cast<double>(both) / static_cast<double>(wanted.size());
}

double OutputError(std::span<const double> exact, std::span<const double> estimate) {
  double error = 0, square = 0;
  for (size_t j = 0; j < exact.size(); ++j) {
    error += (estimate[j] - exact[j]) * (estimate[j] - exact[j]);
    square += exact[j] * exact[j];
  }
  return square > 0 ? error / square : error;
}

class AttentionMeasure {
 public:
  AttentionMeasure(const CaseReference& reference, const Reconstruction& reconstruction)
      : reference_(reference), kv_(reference.kv()), reconstruction_(reconstruction), differences_(kv_.k.size()) {
    for (size_t i = 0; i < differences_.size(); ++i) differences_[i] = reconstruction.k[i] - kv_.k[i];
  }

  void Run(Measures& measures) {
    const uint32_t counted = kv_.independent_queries > 0 ? kv_.independent_queries : kv_.queries;
    std::vector<float> errors;
    for (uint32_t head = 0; head < kv_.q_heads; ++head) {
      QueryProducts(kv_, head, HeadOf(kv_, differences_, head), errors);
      for (uint32_t query = 0; query < kv_.queries; ++query) {
        const uint64_t row = uint64_t{head} * kv_.queries + query;
        const auto row_errors = std::span<const float>(errors).subspan(size_t{query} * kv_.tokens, kv_.tokens);
        if (query < counted) {
          AddLogits(reference_.Products(row), row_errors, std::span(kv_.q).subspan(row * kv_.head_dim, kv_.head_dim),
                    logits_);
        }
        AddRow(head, row, row_errors, measures);
      }
    }
    Finish(measures);
  }

 private:
  void AddRow(uint32_t head, uint64_t row, std::span<const float> errors, Measures& measures) {
    const double scale = 1 / std::sqrt(static_cast<double>(kv_.head_dim));
    const std::span<const double> products = reference_.Products(row);
    std::vector<double> exact(products.size()), estimate(products.size());
    for (size_t t = 0; t < products.size(); ++t) {
      exact[t] = scale * products[t];
      estimate[t] = scale * (products[t] + errors[t]);
    }
    exact = SoftmaxWeights(exact);
    estimate = SoftmaxWeights(estimate);
    measures.attention_kl += Divergence(exact, estimate);
    AddRanks(exact, estimate, measures);
    std::vector<double> output;
    if (reconstruction_.output.empty()) {
      output = WeightedSum(estimate, HeadOf(kv_, reconstruction_.v, head), kv_.head_dim);
    } else {
      const auto first = reconstruction_.output.begin() + static_cast<ptrdiff_t>(row * kv_.head_dim);
      output.assign(first, first + kv_.head_dim);
    }
    measures.output_error += OutputError(reference_.Output(row), output);
  }

  void Finish(Measures& measures) const {
    const double rows = static_cast<double>(kv_.rows());
    measures.logit_variance = logits_.query_square > 0 ? logits_.error_square / logits_.query_square : 0;
    measures.logit_slope = logits_.square > 0 ? logits_.cross / logits_.square : 1;
    for (double* sum : {&measures.attention_kl, &measures.top1, &measures.top8, &measures.output_error}) *sum /= rows;
    measures.output_error = std::sqrt(measures.output_error);
  }

  const CaseReference& reference_;
  const KvCase& kv_;
  const Reconstruction& reconstruction_;
  std::vector<float> differences_;
  LogitSums logits_;
};

}  // namespace

std::span<const MeasureField> MeasureFields() {
  static constexpr std::array kFields = {
      MeasureField{"key_error", &Measures::key_error},
      MeasureField{"value_error", &Measures::value_error},
      MeasureField{"unit_slope", &Measures::unit_slope},
      MeasureField{"unit_error_independent", &Measures::unit_error_independent},
      MeasureField{"unit_error_half", &Measures::unit_error_half},
      MeasureField{"logit_slope", &Measures::logit_slope},
      MeasureField{"logit_variance", &Measures::logit_variance},
      MeasureField{"attention_kl", &Measures::attention_kl},
      MeasureField{"top1", &Measures::top1},
      MeasureField{"top8", &Measures::top8},
      MeasureField{"output_error", &Measures::output_error},
  };
  return kFields;
}

Measures Measure(const CaseReference& reference, const Reconstruction& reconstruction) {
  Measures measures;
  measures.key_error = RelativeError(reference.kv().k, reconstruction.k);
  measures.value_error = RelativeError(reference.kv().v, reconstruction.v);
  MeasureUnitProducts(reference.kv(), reconstruction.k, measures);
  AttentionMeasure(reference, reconstruction).Run(measures);
  return measures;
}

}  // namespace polarkv::quality
