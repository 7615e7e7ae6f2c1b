// The value of all 32 lanes of a warp on the host, with the operators that a lane's register has.
#ifndef POLARKV_TESTS_KERNELS_CUDA_HOST_LANES_H_
#define POLARKV_TESTS_KERNELS_CUDA_HOST_LANES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace polarkv::cuda {

template <class T>
struct Lanes {
  std::array<T, 32> v{};
  Lanes() = default;
  Lanes(T x) { v.fill(x); }  // NOLINT: a scalar is the same in every lane
  T& operator[](size_t lane) { return v[lane]; }
  const T& operator[](size_t lane) const { return v[lane]; }
};

template <class Result, class Function>
Lanes<Result> EachLane(Function function) {
  Lanes<Result> result;
  for (size_t lane = 0; lane < 32; ++lane) result[lane] = static_cast<Result>(function(lane));
  return result;
}

#define POLARKV_LANES_OPERATOR(op)                                       \
  template <class T>                                                     \
  Lanes<T> operator op(const Lanes<T>& a, const Lanes<T>& b) {           \
    return EachLane<T>([&](size_t lane) { return a[lane] op b[lane]; }); \
  }                                                                      \
  template <class T>                                                     \
  Lanes<T> operator op(const Lanes<T>& a, std::type_identity_t<T> b) {   \
    return EachLane<T>([&](size_t lane) { return a[lane] op b; });       \
  }
POLARKV_LANES_OPERATOR(+)
POLARKV_LANES_OPERATOR(-)
POLARKV_LANES_OPERATOR(*)
POLARKV_LANES_OPERATOR(&)
POLARKV_LANES_OPERATOR(|)
POLARKV_LANES_OPERATOR(^)
POLARKV_LANES_OPERATOR(/)
#undef POLARKV_LANES_OPERATOR

template <class T>
Lanes<T> operator<<(const Lanes<T>& a, int bits) {
  // Through unsigned: a shifted-out sign bit is what the hardware drops.
  return EachLane<T>([&](size_t lane) { return static_cast<std::make_unsigned_t<T>>(a[lane]) << bits; });
}
template <class T>
Lanes<T> operator>>(const Lanes<T>& a, int bits) {
  return EachLane<T>([&](size_t lane) { return a[lane] >> bits; });
}
template <class T>
Lanes<T> operator-(const Lanes<T>& a) {
  return EachLane<T>([&](size_t lane) { return -a[lane]; });
}
template <class T>
Lanes<T> operator<<(const Lanes<T>& a, const Lanes<uint32_t>& bits) {
  return EachLane<T>([&](size_t lane) { return a[lane] << bits[lane]; });
}
template <class T>
Lanes<bool> operator>(const Lanes<T>& a, const Lanes<T>& b) {
  return EachLane<bool>([&](size_t lane) { return a[lane] > b[lane]; });
}
template <class T>
Lanes<bool> operator>=(const Lanes<T>& a, const Lanes<T>& b) {
  return EachLane<bool>([&](size_t lane) { return a[lane] >= b[lane]; });
}

}  // namespace polarkv::cuda

#endif  // POLARKV_TESTS_KERNELS_CUDA_HOST_LANES_H_
