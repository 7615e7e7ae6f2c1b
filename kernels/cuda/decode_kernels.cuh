// The decoders' kernel, and how one is picked: a thread block of four warps decodes one side of one tile.
#ifndef POLARKV_KERNELS_CUDA_DECODE_KERNELS_CUH_
#define POLARKV_KERNELS_CUDA_DECODE_KERNELS_CUH_

#include <cuda_runtime.h>

#include "kernels/cuda/decode_tile.h"
#include "kernels/cuda/device_warp.cuh"

namespace polarkv::cuda {

inline constexpr uint32_t kQuarters = kTileTokens / kQuarterTokens;

template <int kDim, ElementType kType, int kKind, int kSide>
__global__ void __launch_bounds__(128, kDim == 256 ? 3 : 5)
    DecodeKernel(const __grid_constant__ DecodeArgs args, const __grid_constant__ PermuteTables<kKind> tables) {
  using Stage = RowStage<kDim, kType>;
  extern __shared__ __align__(16) uint8_t stages[];
  __shared__ DecodeScratch scratch;
  const uint32_t quarter = threadIdx.x / 32, lane = threadIdx.x % 32, first = quarter * kQuarterTokens;
  const DecodeCursor at{blockIdx.x / args.tiles_per_block, blockIdx.z, blockIdx.y, blockIdx.x % args.tiles_per_block};
  DecodeTask task;
  if (!FindDecodeTask(args, at, task) || first >= task.tokens) return;
  uint8_t* const stage = stages + quarter * Stage::kBytes;
  if (lane < kQuarterTokens) scratch.rows[first + lane] = FindTarget(args, at, task, first + lane);
  uint8_t* const mean_stage = stages + kQuarters * Stage::kBytes + quarter * MeanRows<kDim>::kBytes;
  DecodeQuarter<DeviceWarp, kDim, kType, kKind, kSide>(args, tables, task, quarter, stage, mean_stage);
  __syncwarp();
  DrainRows<kDim, kType>(lane, scratch.rows + first, [stage](uint8_t* to, uint32_t offset) {
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(stage + offset);
  });
}

template <int kDim, ElementType kType, int kKind, int kSide>
cudaError_t LaunchDecodeSide(const int8_t (&image)[16], const DecodeArgs& args, cudaStream_t stream) {
  const auto kernel = DecodeKernel<kDim, kType, kKind, kSide>;
  constexpr uint32_t kRows = kQuarters * RowStage<kDim, kType>::kBytes;
  constexpr uint32_t kMeans = kSide == 0 ? kQuarters * MeanRows<kDim>::kBytes : 0;
  const uint32_t shared = kRows + (args.means.any ? kMeans : 0);
  if (cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kRows + kMeans);
      error != cudaSuccess) {
    return error;
  }
  kernel<<<dim3(args.blocks * args.tiles_per_block, args.kv_heads, args.layers), 128, shared, stream>>>(
      args, MakePermuteTables<kKind>(image));
  return cudaGetLastError();
}

template <int kDim, ElementType kType, int kSide>
cudaError_t LaunchDecodeKind(CodeKind kind, const int8_t (&image)[16], const DecodeArgs& args, cudaStream_t stream) {
  switch (kind) {
    case kTurbo2:
      return LaunchDecodeSide<kDim, kType, kTurbo2, kSide>(image, args, stream);
    case kTurbo3:
      return LaunchDecodeSide<kDim, kType, kTurbo3, kSide>(image, args, stream);
    case kTurbo4:
      return LaunchDecodeSide<kDim, kType, kTurbo4, kSide>(image, args, stream);
    case kTrellis1:
      return LaunchDecodeSide<kDim, kType, kTrellis1, kSide>(image, args, stream);
    case kTrellis2:
      return LaunchDecodeSide<kDim, kType, kTrellis2, kSide>(image, args, stream);
    case kTrellis3:
      return LaunchDecodeSide<kDim, kType, kTrellis3, kSide>(image, args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

template <int kDim, ElementType kType>
cudaError_t LaunchDecodeTyped(const AttentionCodec& codec, const DecodeBatch& batch, cudaStream_t stream) {
  const cudaError_t error = LaunchDecodeKind<kDim, kType, 0>(codec.key_kind, codec.key_image,
                                                             MakeDecodeArgs(codec, batch, KvSide::kKey), stream);
  if (error != cudaSuccess) return error;
  return LaunchDecodeKind<kDim, kType, 1>(codec.value_kind, codec.value_image,
                                          MakeDecodeArgs(codec, batch, KvSide::kValue), stream);
}

// Instantiated in a file of its own for each head_dim.
template <int kDim>
cudaError_t LaunchDecodeDim(const AttentionCodec& codec, const DecodeBatch& batch, cudaStream_t stream) {
  switch (batch.rows.type) {
    case ElementType::kF16:
      return LaunchDecodeTyped<kDim, ElementType::kF16>(codec, batch, stream);
    case ElementType::kBF16:
      return LaunchDecodeTyped<kDim, ElementType::kBF16>(codec, batch, stream);
    case ElementType::kF32:
      return LaunchDecodeTyped<kDim, ElementType::kF32>(codec, batch, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DECODE_KERNELS_CUH_
