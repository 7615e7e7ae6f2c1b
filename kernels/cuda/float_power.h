// Products with powers of two that a float does not hold.
#ifndef POLARKV_KERNELS_CUDA_FLOAT_POWER_H_
#define POLARKV_KERNELS_CUDA_FLOAT_POWER_H_

#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

// 2^power in two factors, either a float.
template <class W>
POLARKV_WARP_FUNCTION typename W::F32 TimesPower(typename W::F32 x, typename W::F32 y, typename W::I32 power) {
  using U32 = typename W::U32;
  const auto half = power >> 1;
  const auto first = W::FloatOfBits(U32(W::BitsOf(half + 127)) << 23);
  const auto second = W::FloatOfBits(U32(W::BitsOf(power - half + 127)) << 23);
  return (x * first) * (y * second);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_FLOAT_POWER_H_
