// Random numbers that are the same on every machine and compiler, up to the last bits of the math library.
#ifndef POLARKV_TESTS_QUALITY_RANDOM_SOURCE_H_
#define POLARKV_TESTS_QUALITY_RANDOM_SOURCE_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

namespace polarkv::quality {

// SplitMix64 and the Box-Muller transform.
class RandomSource {
 public:
  explicit RandomSource(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15 + 0x243F6A8885A308D3) {}

  uint64_t Bits() {
    uint64_t x = state_ += 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }
  // In (0, 1].
  double Uniform() { return static_cast<double>((Bits() >> 11) + 1) * 0x1p-53; }
  double Normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    const double radius = std::sqrt(-2 * std::log(Uniform())), angle = 2 * std::numbers::pi * Uniform();
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return radius * std::cos(angle);
  }
  std::vector<float> Normals(size_t count, double deviation = 1) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(deviation * Normal());
    return values;
  }

 private:
  uint64_t state_;
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_RANDOM_SOURCE_H_
