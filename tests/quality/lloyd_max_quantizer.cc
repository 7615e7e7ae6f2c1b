// Lloyd-Max codes of vectors, and signs of their sketches (QJL). Shares no code with the project's codecs.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "codec/half_float.h"
#include "tests/quality/side_quantizer.h"
#include "tests/quality/signed_hadamard.h"

namespace polarkv::quality {
namespace {

using Vector = std::vector<double>;

constexpr uint64_t kRotationSeed = 4711, kSketchSeed = 12;

// Positive centroids for N(0, 1) (Max 1960).
const std::vector<double>& Centroids(uint32_t bits) {
  static const std::array<std::vector<double>, 4> kTables = {{
      {.797885},
      {.452780, 1.510418},
      {.245094, .756005, 1.343909, 2.151946},
      {.128395, .388048, .656759, .942340, 1.256231, 1.618046, 2.069017, 2.732590},
  }};
  return kTables[bits - 1];
}

double AsHalf(double value) { return HalfToFloat(FloatToHalf(static_cast<float>(std::min(value, 65504.0)))); }

double Norm(const Vector& x) {
  double square = 0;
  for (double value : x) square += value * value;
  return std::sqrt(square);
}

double NearestCentroid(uint32_t bits, double magnitude) {
  const std::vector<double>& centroids = Centroids(bits);
  size_t code = 0;
  while (code + 1 < centroids.size() && magnitude >= (centroids[code] + centroids[code + 1]) / 2) ++code;
  return centroids[code];
}

// What is read back of `x`: rotated, coded, norm in fp16.
Vector CodeVector(const SignedHadamard& rotation, uint32_t bits, Vector x) {
  const double norm = Norm(x);
  if (norm == 0) return x;
  const double root_d = std::sqrt(static_cast<double>(x.size()));
  rotation.Forward(x);
  for (double& value : x) {
    value = std::copysign(NearestCentroid(bits, std::fabs(value) * root_d / norm), value) * AsHalf(norm) / root_d;
  }
  rotation.Backward(x);
  return x;
}

// One orthogonal sketch of as many signs as coordinates. Two rounds of signs and transform: one alone is too close to
// the rotation of the codes, whose residual is not Gaussian in it.
class SignSketch {
 public:
  SignSketch(uint32_t head_dim, uint64_t seed) : first_(head_dim, seed), second_(head_dim, seed + 1) {}

  // The estimate of `x` from the signs of its sketch and its norm. Unbiased inner products for random rotations: an
  // orthogonal sketch's mean magnitude is 1 + 1/(4d) times that of a Gaussian one, to first order.
  Vector Estimate(Vector x) const {
    const double d = static_cast<double>(x.size()), norm = AsHalf(Norm(x));
    const double magnitude = norm * std::sqrt(std::numbers::pi / 2 / d) / (1 + 1 / (4 * d));
    first_.Forward(x);
    second_.Forward(x);
    for (double& value : x) value = std::copysign(magnitude, value);
    second_.Backward(x);
    first_.Backward(x);
    return x;
  }

 private:
  SignedHadamard first_, second_;
};

// Applies `estimate` to every vector of a head.
template <typename Estimate>
void ForEachVector(const HeadShape& shape, std::span<const float> in, std::span<float> out, Estimate estimate) {
  for (size_t row = 0; row < in.size(); row += shape.head_dim) {
    const auto first = in.begin() + static_cast<ptrdiff_t>(row);
    std::ranges::transform(estimate(Vector(first, first + shape.head_dim)), out.begin() + static_cast<ptrdiff_t>(row),
                           [](double value) { return static_cast<float>(value); });
  }
}

class LloydMax final : public SideQuantizer {
 public:
  explicit LloydMax(uint32_t bits) : bits_(bits) {}
  double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const override {
    const SignedHadamard rotation(shape.head_dim, kRotationSeed);
    ForEachVector(shape, in, out, [&](Vector x) { return CodeVector(rotation, bits_, std::move(x)); });
    return static_cast<double>(bits_) * static_cast<double>(in.size()) + 16.0 * shape.tokens;
  }

 private:
  uint32_t bits_;
};

class LloydMaxWithResidual final : public SideQuantizer {
 public:
  explicit LloydMaxWithResidual(uint32_t code_bits) : code_bits_(code_bits) {}
  double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const override {
    const SignedHadamard rotation(shape.head_dim, kRotationSeed);
    const SignSketch sketch(shape.head_dim, kSketchSeed);
    ForEachVector(shape, in, out, [&](const Vector& x) {
      Vector coded = CodeVector(rotation, code_bits_, x), residual = x;
      for (size_t j = 0; j < x.size(); ++j) residual[j] -= coded[j];
      residual = sketch.Estimate(std::move(residual));
      for (size_t j = 0; j < x.size(); ++j) coded[j] += residual[j];
      return coded;
    });
    return (code_bits_ + 1.0) * static_cast<double>(in.size()) + 32.0 * shape.tokens;
  }

 private:
  uint32_t code_bits_;
};

class SignSketches final : public SideQuantizer {
 public:
  explicit SignSketches(uint32_t sketches) : sketches_(sketches) {}
  double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const override {
    std::vector<SignSketch> sketches;
    for (uint32_t i = 0; i < sketches_; ++i) sketches.emplace_back(shape.head_dim, kSketchSeed + 2 * i);
    ForEachVector(shape, in, out, [&](const Vector& x) {
      Vector mean(x.size());
      for (const SignSketch& sketch : sketches) {
        const Vector estimate = sketch.Estimate(x);
        for (size_t j = 0; j < x.size(); ++j) mean[j] += estimate[j] / sketches_;
      }
      return mean;
    });
    return static_cast<double>(sketches_) * static_cast<double>(in.size()) + 16.0 * shape.tokens;
  }

 private:
  uint32_t sketches_;
};

}  // namespace

SideQuantizerPtr LloydMaxCodes(uint32_t bits) { return std::make_shared<const LloydMax>(bits); }
SideQuantizerPtr LloydMaxCodesWithResidual(uint32_t code_bits) {
  return std::make_shared<const LloydMaxWithResidual>(code_bits);
}
SideQuantizerPtr SignsOfSketches(uint32_t sketches) { return std::make_shared<const SignSketches>(sketches); }

}  // namespace polarkv::quality
