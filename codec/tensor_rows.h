// Rows of a tensor view as floats.
#ifndef POLARKV_CODEC_TENSOR_ROWS_H_
#define POLARKV_CODEC_TENSOR_ROWS_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "codec/tensor_view.h"

namespace polarkv {

// INVALID_ARGUMENT unless `tensor` has data, a known dtype and the shape [layers, kv_heads, tokens, head_dim] given.
absl::Status CheckTensor(const TensorView& tensor, std::string_view name, const std::array<int64_t, 4>& shape);

// Copies tokens [first, first + count) of (layer, head) to `rows`, contiguous [count][head_dim]. INVALID_ARGUMENT at
// the first NaN or infinity, naming tensor, layer, head, token and coordinate.
absl::Status ReadFiniteRows(const TensorView& tensor, std::string_view name, uint32_t layer, uint32_t head,
                            uint32_t first, uint32_t count, float* rows);

}  // namespace polarkv

#endif  // POLARKV_CODEC_TENSOR_ROWS_H_
