// SplitMix64: the only source of randomness in the load tester, so that a seed means the same on every platform.
#ifndef POLARKV_CLIENT_LOAD_MIXING_H_
#define POLARKV_CLIENT_LOAD_MIXING_H_

#include <cmath>
#include <cstdint>

namespace polarkv::load {

inline constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words.
constexpr uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// Output `index` of the stream of `seed`, in any order.
constexpr uint64_t StreamWord(uint64_t seed, uint64_t index) { return Mix(seed + (index + 1) * kGolden); }

// Draws in sequence from one stream. Cheap to copy; not thread-safe.
class Random {
 public:
  explicit Random(uint64_t seed) : seed_(Mix(seed + kGolden)) {}
  uint64_t Word() { return StreamWord(seed_, next_++); }
  // [0, 1), multiples of 2^-53.
  double Uniform() { return static_cast<double>(Word() >> 11) * 0x1p-53; }
  // Exponential with mean 1.
  double Exponential() { return -std::log1p(-Uniform()); }

 private:
  uint64_t seed_;
  uint64_t next_ = 0;
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_MIXING_H_
