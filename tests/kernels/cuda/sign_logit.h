// The score of a query with a key of which signs of projections are stored, the query's projections being rounded to int8
// as kernels/cuda does; in double precision, of the block's bytes.
#ifndef POLARKV_TESTS_KERNELS_CUDA_SIGN_LOGIT_H_
#define POLARKV_TESTS_KERNELS_CUDA_SIGN_LOGIT_H_

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "codec/block_view.h"
#include "codec/code_order.h"
#include "codec/log_scale.h"
#include "codec/rotation.h"
#include "codec/sign_projection.h"

namespace polarkv::testing {

struct RoundedScore {
  double value;
  double step;  // what one coordinate of a projection that is rounded the other way changes
};

class SignLogit {
 public:
  SignLogit(const float* query, uint32_t dim, uint64_t seed, uint32_t projections) : dim_(dim) {
    const auto signs = RotationSigns(seed);
    std::vector<double> rotated(dim);
    for (uint32_t j = 0; j < dim; ++j) rotated[j] = double{signs[j]} * query[j];
    Transform(rotated);
    for (uint32_t i = 0; i < projections; ++i) {
      std::vector<double> x = rotated;
      for (uint32_t factor = 0; factor < 2; ++factor) {
        const auto flips = RotationSigns(SignProjection::FactorSeed(seed, 2 * i + factor));
        for (uint32_t j = 0; j < dim; ++j) x[j] *= double{flips[j]};
        Transform(x);
      }
      projected_.insert(projected_.end(), x.begin(), x.end());
    }
    double largest = 0;
    for (const double x : projected_) largest = std::max(largest, std::fabs(x));
    const double unit = largest / 127;
    for (double& x : projected_) x = std::nearbyint(x / unit);
    // The transforms are not normalised: the rotation's is by its root, a projection's two by their whole length.
    unit_ = unit / std::sqrt(static_cast<double>(dim)) * 64 * double{SketchConstant(dim)} / (projections * static_cast<double>(dim));
  }

  // With a token of a base tile.
  RoundedScore With(const uint8_t* tile, uint32_t token) const {
    TileHead head;
    std::memcpy(&head, tile, sizeof head);
    const double scale = ScaleValue({head.k_exponent, head.k_shift}, tile[sizeof head + token]);
    const uint8_t* plane = tile + sizeof head + 2 * kTileTokens;
    double sum = 0;
    for (size_t i = 0; i < projected_.size(); ++i) {
      if (i > 0 && i % dim_ == 0) plane += 8 * dim_;
      const auto j = static_cast<uint32_t>(i % dim_);
      const AtomPlace place = KeyAtom(dim_, token, j / 16);
      uint32_t word;
      std::memcpy(&word, plane + 4 * size_t{place.refine_word}, 4);
      sum += (word >> FirstRefineShift(place.vector, j % 16) & 1) != 0 ? projected_[i] : -projected_[i];
    }
    return {sum * unit_ * scale, 2 * unit_ * scale};
  }

 private:
  void Transform(std::vector<double>& x) const {
    for (uint32_t stride = 1; stride < dim_; stride *= 2) {
      for (uint32_t j = 0; j < dim_; ++j) {
        if ((j & stride) != 0) continue;
        const double a = x[j], b = x[j + stride];
        x[j] = a + b;
        x[j + stride] = a - b;
      }
    }
  }
  uint32_t dim_;
  std::vector<double> projected_;
  double unit_ = 0;
};

}  // namespace polarkv::testing

#endif  // POLARKV_TESTS_KERNELS_CUDA_SIGN_LOGIT_H_
