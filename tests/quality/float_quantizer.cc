// Small floating-point formats: fp8 e4m3, NVFP4.
#include <algorithm>
#include <array>
#include <cmath>

#include "tests/quality/side_quantizer.h"

namespace polarkv::quality {
namespace {

constexpr double kLargestE4m3 = 448, kLargestE2m1 = 6;
constexpr uint32_t kTensorTokens = 512;  // tokens of a head that share an fp32 scale

// Nearest e4m3 number, ties to even, saturating: 3 bits of mantissa, exponents from -6, subnormals.
double RoundToE4m3(double x) {
  const double magnitude = std::min(std::fabs(x), kLargestE4m3);
  if (magnitude == 0) return 0;
  const int exponent = std::max(std::ilogb(magnitude), -6);
  const double rounded =
      std::min(std::ldexp(std::nearbyint(std::ldexp(magnitude, 3 - exponent)), exponent - 3), kLargestE4m3);
  return std::copysign(rounded, x);
}

double RoundToE2m1(double x) {
  constexpr std::array kValues = {0.0, .5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0};
  const double magnitude = std::fabs(x);
  const auto* nearest =
      std::ranges::min_element(kValues, {}, [magnitude](double value) { return std::fabs(value - magnitude); });
  return std::copysign(*nearest, x);
}

double LargestMagnitude(std::span<const float> values) {
  double largest = 0;
  for (float x : values) largest = std::max(largest, std::fabs(double{x}));
  return largest;
}

// Calls `quantize(first, count, largest magnitude)` for each run of kTensorTokens tokens; returns their scales' bits.
template <typename Quantize>
double ForEachTensor(const HeadShape& shape, std::span<const float> in, Quantize quantize) {
  double bits = 0;
  for (uint32_t t = 0; t < shape.tokens; t += kTensorTokens, bits += 32) {
    const size_t first = size_t{t} * shape.head_dim;
    const size_t count = size_t{std::min(kTensorTokens, shape.tokens - t)} * shape.head_dim;
    quantize(first, count, LargestMagnitude(in.subspan(first, count)));
  }
  return bits;
}

class E4m3 final : public SideQuantizer {
 public:
  double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const override {
    const double scale_bits = ForEachTensor(shape, in, [&](size_t first, size_t count, double largest) {
      const double scale = largest > 0 ? static_cast<float>(largest / kLargestE4m3) : 1;
      for (size_t i = first; i < first + count; ++i) out[i] = static_cast<float>(RoundToE4m3(in[i] / scale) * scale);
    });
    return 8.0 * static_cast<double>(in.size()) + scale_bits;
  }
};

class MicroscaledE2m1 final : public SideQuantizer {
 public:
  double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const override {
    const double scale_bits = ForEachTensor(shape, in, [&](size_t first, size_t count, double largest) {
      const double tensor_scale = largest > 0 ? static_cast<float>(largest / (kLargestE2m1 * kLargestE4m3)) : 1;
      for (size_t i = first; i < first + count; i += kBlock) {
        QuantizeBlock(tensor_scale, in.subspan(i, kBlock), out.subspan(i, kBlock));
      }
    });
    return (4 + 8.0 / kBlock) * static_cast<double>(in.size()) + scale_bits;
  }

 private:
  static constexpr size_t kBlock = 16;  // divides every head dimension

  static void QuantizeBlock(double tensor_scale, std::span<const float> in, std::span<float> out) {
    const double scale = RoundToE4m3(LargestMagnitude(in) / kLargestE2m1 / tensor_scale) * tensor_scale;
    for (size_t i = 0; i < in.size(); ++i) {
      out[i] = scale > 0 ? static_cast<float>(RoundToE2m1(in[i] / scale) * scale) : 0;
    }
  }
};

}  // namespace

SideQuantizerPtr Float8() { return std::make_shared<const E4m3>(); }
SideQuantizerPtr Nvfp4() { return std::make_shared<const MicroscaledE2m1>(); }

}  // namespace polarkv::quality
