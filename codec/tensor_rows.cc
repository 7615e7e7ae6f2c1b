#include "codec/tensor_rows.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "codec/fma_target.h"
#include "codec/half_float.h"

namespace polarkv {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

std::string ShapeText(const std::array<int64_t, 4>& shape) {
  return absl::StrCat("[", shape[0], ", ", shape[1], ", ", shape[2], ", ", shape[3], "]");
}

template <Dtype kDtype>
[[gnu::always_inline]] inline float ToFloat(const uint8_t* element) {
  if constexpr (kDtype == Dtype::kF32) {
    float value;
    std::memcpy(&value, element, 4);
    return value;
  } else {
    uint16_t bits;
    std::memcpy(&bits, element, 2);
    return kDtype == Dtype::kF16 ? HalfToFloat(bits) : BFloat16ToFloat(bits);
  }
}

// Whether all of `row` is finite: an exponent of all ones is neither rounded away nor hidden by this.
[[gnu::always_inline]] inline bool AllFinite(const float* row, uint32_t count) {
  uint32_t bad = 0;
  for (uint32_t i = 0; i < count; ++i) bad |= (std::bit_cast<uint32_t>(row[i]) & 0x7FFFFFFFu) >= 0x7F800000u ? 1 : 0;
  return bad == 0;
}

template <Dtype kDtype>
[[gnu::always_inline]] inline bool ReadRowBody(const uint8_t* data, int64_t stride, uint32_t count, float* row) {
  constexpr int64_t kBytes = kDtype == Dtype::kF32 ? 4 : 2;
  if (stride == 1) {
    for (uint32_t i = 0; i < count; ++i) row[i] = ToFloat<kDtype>(data + i * kBytes);
  } else {
    for (uint32_t i = 0; i < count; ++i) row[i] = ToFloat<kDtype>(data + i * stride * kBytes);
  }
  return AllFinite(row, count);
}

template <Dtype kDtype>
POLARKV_FMA_TARGET bool ReadRowFast(const uint8_t* data, int64_t stride, uint32_t count, float* row) {
  return ReadRowBody<kDtype>(data, stride, count, row);
}

template <Dtype kDtype>
bool ReadRow(const uint8_t* data, int64_t stride, uint32_t count, float* row) {
  return HasHardwareFma() ? ReadRowFast<kDtype>(data, stride, count, row)
                          : ReadRowBody<kDtype>(data, stride, count, row);
}

}  // namespace

absl::Status CheckTensor(const TensorView& tensor, std::string_view name, const std::array<int64_t, 4>& shape) {
  if (tensor.shape != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", View(name), " has shape ", ShapeText(tensor.shape),
                     ", the block spec wants [layers, kv_heads, tokens, head_dim] = ", ShapeText(shape)));
  }
  if (tensor.data == nullptr) return absl::InvalidArgumentError(absl::StrCat("tensor ", View(name), " has no data"));
  if (tensor.dtype != Dtype::kF16 && tensor.dtype != Dtype::kBF16 && tensor.dtype != Dtype::kF32) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", View(name), " has unknown dtype ",
                                                   static_cast<int>(tensor.dtype),
                                                   "; F16, BF16 and F32 can be encoded"));
  }
  return absl::OkStatus();
}

absl::Status ReadFiniteRows(const TensorView& tensor, std::string_view name, uint32_t layer, uint32_t head,
                            uint32_t first, uint32_t count, float* rows) {
  const int64_t bytes = tensor.dtype == Dtype::kF32 ? 4 : 2;
  const uint32_t head_dim = static_cast<uint32_t>(tensor.shape[3]);
  for (uint32_t t = first; t < first + count; ++t, rows += head_dim) {
    const uint8_t* data = static_cast<const uint8_t*>(tensor.data) +
                          bytes * (layer * tensor.stride[0] + head * tensor.stride[1] + t * tensor.stride[2]);
    const bool finite = tensor.dtype == Dtype::kF32   ? ReadRow<Dtype::kF32>(data, tensor.stride[3], head_dim, rows)
                        : tensor.dtype == Dtype::kF16 ? ReadRow<Dtype::kF16>(data, tensor.stride[3], head_dim, rows)
                                                      : ReadRow<Dtype::kBF16>(data, tensor.stride[3], head_dim, rows);
    if (finite) continue;
    uint32_t i = 0;
    while (AllFinite(rows + i, 1)) ++i;
    return absl::InvalidArgumentError(absl::StrCat("tensor ", View(name), " is not finite (", rows[i], ") at layer ",
                                                   layer, ", head ", head, ", token ", t, ", coordinate ", i,
                                                   "; NaN and infinity cannot be encoded"));
  }
  return absl::OkStatus();
}

}  // namespace polarkv
