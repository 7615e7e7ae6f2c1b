#include "tests/quality/synthetic_case.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "tests/quality/random_source.h"

namespace polarkv::quality {
namespace {

using Matrix = std::vector<float>;  // [rows][head_dim]

// The two coordinates of RoPE pair p.
std::pair<uint32_t, uint32_t> PairCoordinates(const Rope& rope, uint32_t head_dim, uint32_t p) {
  if (rope.pairing == RopePairing::kInterleaved) return {2 * p, 2 * p + 1};
  return {p, p + head_dim / 2};
}

// Turns `x` by the angles of a position, as RoPE does.
void TurnTo(const Rope& rope, uint32_t head_dim, uint64_t position, float* x) {
  if (rope.pairing == RopePairing::kNone) return;
  for (uint32_t p = 0; p < head_dim / 2; ++p) {
    const auto [a, b] = PairCoordinates(rope, head_dim, p);
    const double angle = static_cast<double>(position) * std::pow(double{rope.base}, -2.0 * p / head_dim);
    const double c = std::cos(angle), s = std::sin(angle), u = x[a], w = x[b];
    x[a] = static_cast<float>(c * u - s * w);
    x[b] = static_cast<float>(s * u + c * w);
  }
}

// Heavy tails: normal over the root of chi-square/3, and a norm of its own for each token.
void MakeHeavyTails(uint32_t head_dim, RandomSource& random, Matrix& keys) {
  for (size_t first = 0; first < keys.size(); first += head_dim) {
    const double norm = std::exp(.5 * random.Normal());
    for (uint32_t j = 0; j < head_dim; ++j) {
      double chi_square = 0;
      for (int i = 0; i < 3; ++i) chi_square += std::pow(random.Normal(), 2);
      keys[first + j] *= static_cast<float>(norm / std::sqrt(chi_square / 3));
    }
  }
}

Matrix LowRank(uint32_t head_dim, size_t rows, RandomSource& random) {
  constexpr uint32_t kRank = 16;
  const Matrix directions = random.Normals(size_t{kRank} * head_dim, 1 / std::sqrt(static_cast<double>(kRank)));
  Matrix keys = random.Normals(rows * head_dim, .1);
  for (size_t row = 0; row < rows; ++row) {
    for (uint32_t r = 0; r < kRank; ++r) {
      const float weight = static_cast<float>(random.Normal());
      for (uint32_t j = 0; j < head_dim; ++j) keys[row * head_dim + j] += weight * directions[r * head_dim + j];
    }
  }
  return keys;
}

// Deviations of the coordinates; 1 for kinds that have no such structure.
std::vector<double> Deviations(const SyntheticSpec& spec) {
  std::vector<double> deviation(spec.head_dim, 1.0);
  if (spec.content == KeyContent::kOutlierChannels) {
    for (uint32_t i = 0; i < 6; ++i) deviation[(7 + 19 * i) % spec.head_dim] = 10;
  } else if (spec.content == KeyContent::kDecayingSpectrum) {
    const uint32_t pairs = spec.head_dim / 2;
    for (uint32_t p = 0; p < pairs; ++p) {
      const auto [a, b] = PairCoordinates(spec.rope, spec.head_dim, p);
      deviation[a] = deviation[b] = std::pow(3.0, 1 - 2.0 * p / (pairs - 1));
    }
  }
  return deviation;
}

Matrix MakeContent(const SyntheticSpec& spec, RandomSource& random) {
  if (spec.content == KeyContent::kLowRank) return LowRank(spec.head_dim, spec.tokens, random);
  Matrix keys = random.Normals(size_t{spec.tokens} * spec.head_dim);
  if (spec.content == KeyContent::kHeavyTails) MakeHeavyTails(spec.head_dim, random, keys);
  const std::vector<double> deviation = Deviations(spec);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] *= static_cast<float>(deviation[i % spec.head_dim]);
  return keys;
}

// Equal norms, random phases. With a sink on the pairs that turn slowest, as in models whose sinks work by it.
std::vector<float> MakeBias(const SyntheticSpec& spec, RandomSource& random) {
  const uint32_t pairs = spec.head_dim / 2;
  std::vector<uint32_t> biased;
  if (spec.sink != Sink::kNone) {
    for (uint32_t p = pairs - 4; p < pairs; ++p) biased.push_back(p);
  } else if (spec.bias_shape == BiasShape::kFourPairs) {
    for (uint32_t p : {3u, 20u, 40u, 60u}) biased.push_back(p * pairs / 64);
  } else {
    for (uint32_t p = 0; p < pairs; ++p) biased.push_back(p);
  }
  std::vector<float> bias(spec.head_dim);
  for (uint32_t p : biased) {
    const double size = spec.bias / std::sqrt(static_cast<double>(biased.size()));
    const double phase = 2 * std::numbers::pi * random.Uniform();
    const auto [a, b] = PairCoordinates(spec.rope, spec.head_dim, p);
    bias[a] = static_cast<float>(size * std::cos(phase));
    bias[b] = static_cast<float>(size * std::sin(phase));
  }
  return bias;
}

double Dot(const float* x, const float* y, uint32_t head_dim) {
  double sum = 0;
  for (uint32_t j = 0; j < head_dim; ++j) sum += double{x[j]} * y[j];
  return sum;
}

// Half of the rows lean to the content of a key, which then expects a logit of ln(tokens) + 1.
Matrix MakeQueries(const SyntheticSpec& spec, const Matrix& turned_content, RandomSource& random) {
  const uint32_t d = spec.head_dim;
  Matrix queries = random.Normals(size_t{kSyntheticQueries} * d);
  for (uint32_t row = kSyntheticQueries / 2; row < kSyntheticQueries; ++row) {
    const float* target = &turned_content[(random.Bits() % spec.tokens) * d];
    const double lean =
        (std::log(spec.tokens) + 1) * std::sqrt(static_cast<double>(d)) / std::max(1e-3, Dot(target, target, d));
    for (uint32_t j = 0; j < d; ++j) queries[row * d + j] += static_cast<float>(lean * target[j]);
  }
  return queries;
}

// Moves a query along `direction` until `sink` has its share of the attention.
void AttractToSink(const KvCase& kv, const std::vector<float>& direction, uint32_t sink, float* query) {
  const uint32_t d = kv.head_dim;
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  std::vector<double> logits(kv.tokens), slopes(kv.tokens);
  for (uint32_t t = 0; t < kv.tokens; ++t) {
    logits[t] = scale * Dot(query, &kv.k[size_t{t} * d], d);
    slopes[t] = scale * Dot(direction.data(), &kv.k[size_t{t} * d], d);
  }
  double low = -100, high = 100;
  for (int step = 0; step < 60; ++step) {
    const double middle = (low + high) / 2;
    double others = 0;
    for (uint32_t t = 0; t < kv.tokens; ++t) {
      if (t != sink) others += std::exp(logits[t] - logits[sink] - middle * (slopes[t] - slopes[sink]));
    }
    (1 / (1 + others) < kSinkMass ? low : high) = middle;
  }
  for (uint32_t j = 0; j < d; ++j) query[j] -= static_cast<float>(low) * direction[j];
}

void AddSink(const SyntheticSpec& spec, const std::vector<float>& bias, KvCase& kv) {
  const uint32_t d = spec.head_dim, sink = spec.sink == Sink::kFirstToken ? 0 : spec.tokens / 3;
  for (uint32_t j = 0; j < d; ++j) {
    kv.k[size_t{sink} * d + j] *= 1e-4f;
    kv.v[size_t{sink} * d + j] *= .05f;
  }
  std::vector<float> direction = bias;
  TurnTo(spec.rope, d, spec.first_position + spec.tokens / 2, direction.data());
  const double norm = std::sqrt(std::max(1e-12, Dot(direction.data(), direction.data(), d)));
  for (float& x : direction) x = static_cast<float>(x / norm);
  for (uint32_t row = 0; row < kv.queries; ++row) AttractToSink(kv, direction, sink, &kv.q[size_t{row} * d]);
  kv.independent_queries = 0;
}

}  // namespace

KvCase MakeSyntheticCase(const SyntheticSpec& spec) {
  RandomSource random(spec.seed);
  const uint32_t d = spec.head_dim;
  KvCase kv{.name = spec.name,
            .group = spec.group,
            .bias = spec.bias,
            .tokens = spec.tokens,
            .queries = kSyntheticQueries,
            .head_dim = d,
            .independent_queries = kSyntheticQueries / 2,
            .rope = spec.rope,
            .first_position = spec.first_position,
            .k = MakeContent(spec, random)};
  const std::vector<float> bias = MakeBias(spec, random);
  Matrix content = kv.k;
  for (uint32_t t = 0; t < spec.tokens; ++t) {
    float* key = &kv.k[size_t{t} * d];
    for (uint32_t j = 0; j < d; ++j) key[j] += bias[j];
    TurnTo(spec.rope, d, spec.first_position + t, key);
    TurnTo(spec.rope, d, spec.first_position + t, &content[size_t{t} * d]);
  }
  kv.q = MakeQueries(spec, content, random);
  kv.v = random.Normals(size_t{spec.tokens} * d);
  const std::vector<float> mean = random.Normals(d, spec.value_mean);
  for (size_t i = 0; i < kv.v.size(); ++i) kv.v[i] += mean[i % d];
  if (spec.sink != Sink::kNone) AddSink(spec, bias, kv);
  return kv;
}

}  // namespace polarkv::quality
