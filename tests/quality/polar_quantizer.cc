// PolarQuant on RoPE pairs exactly as published, faults included.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "codec/half_float.h"
#include "tests/quality/side_quantizer.h"

namespace polarkv::quality {
namespace {

constexpr uint32_t kGroupTokens = 128;
constexpr double kPi = std::numbers::pi;

// A range that is cut into 2^bits bins; a number is read back as the middle of its bin.
class Bins {
 public:
  Bins(const std::vector<double>& numbers, uint32_t bits) : count_(1 << bits) {
    const auto [low, high] = std::ranges::minmax(numbers);
    low_ = HalfToFloat(FloatToHalf(static_cast<float>(low)));
    step_ = HalfToFloat(FloatToHalf(static_cast<float>((high - low) / count_)));
  }
  double Quantize(double x) const {
    const double code = step_ > 0 ? std::clamp(std::floor((x - low_) / step_), 0.0, count_ - 1.0) : 0;
    return (code + .5) * step_ + low_;
  }

 private:
  int count_;
  double low_, step_;
};

class Published final : public SideQuantizer {
 public:
  Published(uint32_t radius_bits, uint32_t angle_bits) : radius_bits_(radius_bits), angle_bits_(angle_bits) {}

  double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const override {
    double bits = 0;
    for (uint32_t first = 0; first < shape.tokens; first += kGroupTokens) {
      const uint32_t count = std::min(kGroupTokens, shape.tokens - first);
      for (uint32_t p = 0; p < shape.head_dim / 2; ++p) QuantizePair(shape, first, count, p, in, out);
      bits += shape.head_dim / 2 * (64.0 + (radius_bits_ + angle_bits_) * static_cast<double>(count));
    }
    return bits;
  }

 private:
  void QuantizePair(const HeadShape& shape, uint32_t first, uint32_t count, uint32_t p, std::span<const float> in,
                    std::span<float> out) const {
    const bool interleaved = shape.rope.pairing == RopePairing::kInterleaved;
    const size_t a = interleaved ? 2 * p : p, b = interleaved ? 2 * p + 1 : p + shape.head_dim / 2;
    std::vector<double> angles, radii;
    for (uint32_t t = first; t < first + count; ++t) {
      const double x = in[size_t{t} * shape.head_dim + a], y = in[size_t{t} * shape.head_dim + b];
      const double angle = std::atan2(y, x);
      angles.push_back(angle < 0 ? angle + 2 * kPi : angle);
      radii.push_back(std::hypot(x, y));
    }
    const Bins angle_bins(angles, angle_bits_), radius_bins(radii, radius_bits_);
    for (uint32_t t = 0; t < count; ++t) {
      const double angle = angle_bins.Quantize(angles[t]), radius = radius_bins.Quantize(radii[t]);
      const size_t row = size_t{first + t} * shape.head_dim;
      out[row + a] = static_cast<float>(radius * std::cos(angle));
      out[row + b] = static_cast<float>(radius * std::sin(angle));
    }
  }

  uint32_t radius_bits_, angle_bits_;
};

}  // namespace

SideQuantizerPtr PublishedPolar(uint32_t radius_bits, uint32_t angle_bits) {
  return std::make_shared<const Published>(radius_bits, angle_bits);
}

}  // namespace polarkv::quality
