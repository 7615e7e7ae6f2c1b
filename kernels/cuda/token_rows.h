// Keys and values as engines hold them, in device memory: [layer][KV head][token][head_dim] by strides, or in pages.
#ifndef POLARKV_KERNELS_CUDA_TOKEN_ROWS_H_
#define POLARKV_KERNELS_CUDA_TOKEN_ROWS_H_

#include <cstdint>

#include "kernels/cuda/element_type.h"

namespace polarkv::cuda {

// Strides in elements; a row's head_dim elements are adjacent. Pages hold page_tokens tokens of all heads: in NHD pages
// token_stride = heads * head_dim and head_stride = head_dim, in HND pages token_stride = head_dim and head_stride =
// page_tokens * head_dim. k and v may point into one tensor ([2, pages, ..] or [pages, 2, ..]). Pointers, and strides
// in bytes, are multiples of 16.
struct TokenRows {
  void* k = nullptr;
  void* v = nullptr;
  ElementType type = ElementType::kBF16;
  int64_t layer_stride = 0, head_stride = 0, token_stride = 0;
  uint32_t page_tokens = 0;  // 0: no pages, the tokens of a sequence are token_stride apart
  int64_t page_stride = 0;

  // Of the first element of a token's row, which may be anywhere in the sequence. `offset`: where a sequence without
  // pages begins.
  POLARKV_HOST_DEVICE int64_t Row(const int32_t* page_table, int64_t offset, uint32_t layer, uint32_t head,
                                  uint32_t token) const {
    const int64_t first = layer * layer_stride + head * head_stride;
    if (page_tokens == 0) return offset + first + token * token_stride;
    return first + page_table[token / page_tokens] * page_stride + token % page_tokens * token_stride;
  }
};

// Whether all rows begin at multiples of 16 bytes, as kernels need it.
inline bool IsAligned(const TokenRows& rows) {
  const int64_t bytes = ElementBytes(rows.type);
  const auto multiple = [&](int64_t stride) { return stride * bytes % 16 == 0; };
  return reinterpret_cast<uintptr_t>(rows.k) % 16 == 0 && reinterpret_cast<uintptr_t>(rows.v) % 16 == 0 &&
         multiple(rows.layer_stride) && multiple(rows.head_stride) && multiple(rows.token_stride) &&
         multiple(rows.page_stride);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_TOKEN_ROWS_H_
