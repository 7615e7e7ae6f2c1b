// A random rotation that costs few operations.
#ifndef POLARKV_TESTS_QUALITY_SIGNED_HADAMARD_H_
#define POLARKV_TESTS_QUALITY_SIGNED_HADAMARD_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/quality/random_source.h"

namespace polarkv::quality {

// Signs and a Hadamard transform in blocks of the largest power of two that divides the head dimension. Orthonormal.
class SignedHadamard {
 public:
  SignedHadamard(uint32_t head_dim, uint64_t seed) : block_(head_dim & (~head_dim + 1)), signs_(head_dim) {
    RandomSource random(seed);
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

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_SIGNED_HADAMARD_H_
