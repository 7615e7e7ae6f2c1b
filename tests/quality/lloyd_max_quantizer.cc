// Rotated Lloyd-Max codes without any refinement, in code that shares nothing with the project's codecs.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "codec/half_float.h"
#include "tests/quality/random_source.h"
#include "tests/quality/side_quantizer.h"

namespace polarkv::quality {
namespace {

constexpr uint64_t kSignSeed = 4711;

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

// Signs and a Hadamard transform in blocks of the largest power of two that divides the head dimension. Orthonormal.
class SignedHadamard {
 public:
  explicit SignedHadamard(uint32_t head_dim) : block_(head_dim & (~head_dim + 1)), signs_(head_dim) {
    RandomSource random(kSignSeed);
    for (double& sign : signs_) sign = (random.Bits() & 1) != 0 ? 1 : -1;
  }
  void Forward(std::vector<double>& x) const {
    for (size_t j = 0; j < x.size(); ++j) x[j] *= signs_[j];
    Transform(x);
  }
  void Backward(std::vector<double>& x) const {
    Transform(x);
    for (size_t j = 0; j < x.size(); ++j) x[j] *= signs_[j];
  }

 private:
  void Transform(std::vector<double>& x) const {
    for (size_t stride = 1; stride < block_; stride *= 2) {
      for (size_t j = 0; j < x.size(); ++j) {
        if ((j & stride) != 0) continue;
        const double a = x[j], b = x[j + stride];
        x[j] = a + b;
        x[j + stride] = a - b;
      }
    }
    const double scale = 1 / std::sqrt(static_cast<double>(block_));
    for (double& value : x) value *= scale;
  }

  size_t block_;
  std::vector<double> signs_;
};

class LloydMax final : public SideQuantizer {
 public:
  explicit LloydMax(uint32_t bits) : bits_(bits) {}

  double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const override {
    const SignedHadamard rotation(shape.head_dim);
    std::vector<double> x(shape.head_dim);
    for (size_t row = 0; row < in.size(); row += shape.head_dim) {
      std::copy_n(in.begin() + static_cast<ptrdiff_t>(row), shape.head_dim, x.begin());
      rotation.Forward(x);
      QuantizeVector(x);
      rotation.Backward(x);
      std::ranges::transform(x, out.begin() + static_cast<ptrdiff_t>(row),
                             [](double value) { return static_cast<float>(value); });
    }
    return static_cast<double>(bits_) * static_cast<double>(in.size()) + 16.0 * shape.tokens;
  }

 private:
  void QuantizeVector(std::vector<double>& x) const {
    double square = 0;
    for (double value : x) square += value * value;
    if (square == 0) return;
    const double root_d = std::sqrt(static_cast<double>(x.size()));
    const double norm = std::sqrt(square);
    const double stored = HalfToFloat(FloatToHalf(static_cast<float>(std::min(norm, 65504.0))));
    for (double& value : x) value = std::copysign(Nearest(std::fabs(value) * root_d / norm), value) * stored / root_d;
  }
  double Nearest(double magnitude) const {
    const std::vector<double>& centroids = Centroids(bits_);
    size_t code = 0;
    while (code + 1 < centroids.size() && magnitude >= (centroids[code] + centroids[code + 1]) / 2) ++code;
    return centroids[code];
  }

  uint32_t bits_;
};

}  // namespace

SideQuantizerPtr LloydMaxCodes(uint32_t bits) { return std::make_shared<const LloydMax>(bits); }

}  // namespace polarkv::quality
