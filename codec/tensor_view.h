// A strided, non-owning view of a four-dimensional tensor in host memory.
#ifndef POLARKV_CODEC_TENSOR_VIEW_H_
#define POLARKV_CODEC_TENSOR_VIEW_H_

#include <array>
#include <cstdint>

#include "codec/block_format.h"

namespace polarkv {

// K, V: [layers, kv_heads, tokens, head_dim]; Q, O: [layers, q_heads, queries, head_dim].
struct TensorView {
  const void* data = nullptr;
  Dtype dtype = Dtype::kF32;
  std::array<int64_t, 4> shape{};
  std::array<int64_t, 4> stride{};  // in elements; the last one is 1 for the fast kernels

  static TensorView Contiguous(const void* data, Dtype dtype, std::array<int64_t, 4> shape) {
    return {data, dtype, shape, {shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1}};
  }
};

}  // namespace polarkv

#endif  // POLARKV_CODEC_TENSOR_VIEW_H_
