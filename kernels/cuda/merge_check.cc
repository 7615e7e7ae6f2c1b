#include "kernels/cuda/merge.h"

#include <initializer_list>

namespace polarkv::cuda {
namespace {

bool IsType(ElementType type) {
  return type == ElementType::kF16 || type == ElementType::kBF16 || type == ElementType::kF32;
}

bool IsAligned(const AttentionResult& result) {
  bool aligned = reinterpret_cast<uintptr_t>(result.o) % 16 == 0;
  for (const int64_t stride : result.o_stride) aligned = aligned && stride % (16 / ElementBytes(result.type)) == 0;
  return aligned;
}

}  // namespace

LaunchError CheckMerge(const MergeBatch& batch) {
  if (batch.head_dim == 0 || batch.head_dim % 8 != 0 || batch.head_dim > 256 || !IsType(batch.into.type) ||
      !IsType(batch.more.type)) {
    return LaunchError::kUnsupportedShape;
  }
  const uint64_t of_sequence = uint64_t{batch.queries} * batch.heads;
  if (of_sequence == 0 || batch.sequences == 0) return LaunchError::kNone;
  if (of_sequence > 0x7FFFFFFF / batch.sequences) return LaunchError::kUnsupportedShape;
  for (const AttentionResult* side : {&batch.into, &batch.more}) {
    if (side->o == nullptr || side->lse == nullptr) return LaunchError::kUnsupportedShape;
    if (!IsAligned(*side)) return LaunchError::kMisalignedRows;
  }
  return LaunchError::kNone;
}

}  // namespace polarkv::cuda
