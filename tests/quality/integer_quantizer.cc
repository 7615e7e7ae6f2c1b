// KIVI's integers, per channel and per token.
#include <algorithm>
#include <cmath>

#include "codec/half_float.h"
#include "tests/quality/side_quantizer.h"

namespace polarkv::quality {
namespace {

float AsHalf(double value) {
  return HalfToFloat(FloatToHalf(static_cast<float>(std::clamp(value, -65504.0, 65504.0))));
}

// Numbers that share minimum and step: `count` of them, `stride` apart.
struct Group {
  size_t first = 0;
  size_t count = 0;
  size_t stride = 1;
};

constexpr double kParameterBits = 32;  // two fp16

double QuantizeGroup(const Group& group, uint32_t bits, std::span<const float> in, std::span<float> out) {
  float low = in[group.first], high = low;
  for (size_t i = 0; i < group.count; ++i) {
    low = std::min(low, in[group.first + i * group.stride]);
    high = std::max(high, in[group.first + i * group.stride]);
  }
  const double top = (1 << bits) - 1;
  const float minimum = AsHalf(low), step = AsHalf((double{high} - low) / top);
  for (size_t i = 0; i < group.count; ++i) {
    const size_t at = group.first + i * group.stride;
    const double code = step > 0 ? std::clamp(std::round((double{in[at]} - minimum) / step), 0.0, top) : 0;
    out[at] = static_cast<float>(code * step + minimum);
  }
  return static_cast<double>(bits) * static_cast<double>(group.count) + kParameterBits;
}

class PerChannel final : public SideQuantizer {
 public:
  PerChannel(uint32_t bits, uint32_t group) : bits_(bits), group_(group) {}
  double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const override {
    double total = 0;
    for (uint32_t first = 0; first < shape.tokens; first += group_) {
      const size_t count = std::min(group_, shape.tokens - first);
      for (uint32_t j = 0; j < shape.head_dim; ++j) {
        total += QuantizeGroup({size_t{first} * shape.head_dim + j, count, shape.head_dim}, bits_, in, out);
      }
    }
    return total;
  }

 private:
  uint32_t bits_, group_;
};

class PerToken final : public SideQuantizer {
 public:
  PerToken(uint32_t bits, uint32_t group) : bits_(bits), group_(group) {}
  double Quantize(const HeadShape& shape, std::span<const float> in, std::span<float> out) const override {
    const uint32_t group = group_ == 0 ? shape.head_dim : group_;
    double total = 0;
    for (uint32_t t = 0; t < shape.tokens; ++t) {
      for (uint32_t j = 0; j < shape.head_dim; j += group) {
        const size_t count = std::min(group, shape.head_dim - j);
        total += QuantizeGroup({size_t{t} * shape.head_dim + j, count, 1}, bits_, in, out);
      }
    }
    return total;
  }

 private:
  uint32_t bits_, group_;
};

}  // namespace

SideQuantizerPtr PerChannelIntegers(uint32_t bits, uint32_t group) {
  return std::make_shared<const PerChannel>(bits, group);
}

SideQuantizerPtr PerTokenIntegers(uint32_t bits, uint32_t group) {
  return std::make_shared<const PerToken>(bits, group);
}

}  // namespace polarkv::quality
