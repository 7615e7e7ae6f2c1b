// What encoders and decoders ask of a batch alike; plain C++.
#ifndef POLARKV_KERNELS_CUDA_BATCH_CHECK_H_
#define POLARKV_KERNELS_CUDA_BATCH_CHECK_H_

#include <cstdint>

#include "kernels/cuda/launch_error.h"
#include "kernels/cuda/token_rows.h"

namespace polarkv::cuda {

// An EncodeBatch or a DecodeBatch.
template <class Batch>
LaunchError CheckBatch(uint32_t head_dim, const Batch& batch) {
  const bool dim = head_dim == 64 || head_dim == 128 || head_dim == 256;
  if (!dim || batch.blocks == 0 || batch.tiles_per_block == 0 || batch.layers == 0 || batch.kv_heads == 0 ||
      batch.layers > 65535 || batch.kv_heads > 65535 || uint64_t{batch.blocks} * batch.tiles_per_block > 0x7FFFFFFF) {
    return LaunchError::kUnsupportedShape;
  }
  return IsAligned(batch.rows) ? LaunchError::kNone : LaunchError::kMisalignedRows;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_BATCH_CHECK_H_
