// What numbers engines hold queries, outputs, keys and values in.
#ifndef POLARKV_KERNELS_CUDA_ELEMENT_TYPE_H_
#define POLARKV_KERNELS_CUDA_ELEMENT_TYPE_H_

#include <cstdint>

#include "codec/code_order.h"

namespace polarkv::cuda {

enum class ElementType : uint32_t { kF16, kBF16, kF32 };

POLARKV_HOST_DEVICE constexpr uint32_t ElementBytes(ElementType type) { return type == ElementType::kF32 ? 4 : 2; }

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ELEMENT_TYPE_H_
