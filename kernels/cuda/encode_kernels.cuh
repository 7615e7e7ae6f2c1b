// The encoders' kernel, and how one is picked: a thread block of four warps encodes one side of one tile.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_KERNELS_CUH_
#define POLARKV_KERNELS_CUDA_ENCODE_KERNELS_CUH_

#include <cuda_runtime.h>

#include "kernels/cuda/device_warp.cuh"
#include "kernels/cuda/encode_keys.h"

namespace polarkv::cuda {

// Copies 16 bytes to shared memory, or clears them.
struct AsyncCopy {
  uint8_t* stage;
  __device__ __forceinline__ void operator()(uint32_t offset, const uint8_t* from) const {
    if (from == nullptr) {
      *reinterpret_cast<uint4*>(stage + offset) = make_uint4(0, 0, 0, 0);
      return;
    }
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                     static_cast<uint32_t>(__cvta_generic_to_shared(stage + offset))),
                 "l"(from)
                 : "memory");
  }
};
__device__ __forceinline__ void WaitForCopies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncwarp();
}

// What the registers of a thread block are to allow. The search for trellis1 holds the costs of 64 ways.
constexpr int ThreadBlocksAnSm(int dim, int kind) {
  return dim == 256 || kind == kTrellis1 ? 3 : IsTrellisKind(kind) ? 4 : 5;
}

template <int kDim, ElementType kType, int kKind, int kSide>
__global__ void __launch_bounds__(32 * kQuarters, ThreadBlocksAnSm(kDim, kKind))
    EncodeKernel(const __grid_constant__ EncodeArgs args, const __grid_constant__ MeanArgs means,
                 const __grid_constant__ PermuteTables<kKind> tables) {
  using Stage = RowStage<kDim, kType>;
  extern __shared__ __align__(16) uint8_t stages[];
  __shared__ TileScratch scratch;
  const uint32_t quarter = threadIdx.x / 32;
  const EncodeCursor at{blockIdx.x / args.tiles_per_block, blockIdx.z, blockIdx.y, blockIdx.x % args.tiles_per_block};
  const EncodedPlace& place = args.places[at.block];
  TileTask task;
  if (!FindTileTask(args, place, at, task)) return;
  uint8_t* const stage = stages + quarter * Stage::kBytes;
  const uint32_t first = quarter * kQuarterTokens, lane = threadIdx.x % 32;
  if (lane < kQuarterTokens) scratch.rows[first + lane] = FindRow(args, place, at, task, first + lane);
  __syncwarp();
  const uint64_t counted = LowestTokens(task.tokens) & ~LowestTokens(task.raw);
  bool staged = false;
  if constexpr (kTakesMeansOff<kType, kSide>) {
    staged = means.source != MeanSource::kNone;
    if (staged) StageKeysWithoutMean<DeviceWarp, kDim>(args, means, at, counted, quarter, stage, scratch);
  }
  if (!staged) {
    Stage::Fill(lane, scratch.rows + first, AsyncCopy{stage});
    WaitForCopies();
  }
  EncodeQuarter<DeviceWarp, kDim, kType, kKind, kSide>(args, tables, quarter, counted, stage,
                                                       FindSidePlanes<kDim>(args, place, at, task), scratch);
  __syncthreads();
  if (quarter != 0) return;
  TileMeans of_tile;
  if constexpr (kTakesMeansOff<kType, kSide>) of_tile = TileMeansOf<kDim>(args, means, at, scratch);
  FinishTile<DeviceWarp>(args, task, scratch, of_tile);
}

template <int kDim, ElementType kType, int kKind, int kSide>
cudaError_t LaunchEncodeSide(const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream) {
  const auto kernel = EncodeKernel<kDim, kType, kKind, kSide>;
  constexpr uint32_t kShared = kQuarters * RowStage<kDim, kType>::kBytes;
  if (cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
      error != cudaSuccess) {
    return error;
  }
  kernel<<<dim3(args.blocks * args.tiles_per_block, args.kv_heads, args.layers), 32 * kQuarters, kShared, stream>>>(
      args, means, MakePermuteTables<kKind>(ImagesOfKind(static_cast<CodeKind>(kKind)).image));
  return cudaGetLastError();
}

template <int kDim, int kKind, ElementType kType>
cudaError_t LaunchEncodeTyped(const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream) {
  return args.side == 0 ? LaunchEncodeSide<kDim, kType, kKind, 0>(args, means, stream)
                        : LaunchEncodeSide<kDim, kType, kKind, 1>(args, means, stream);
}

template <int kDim, int kKind>
cudaError_t LaunchEncodeKind(const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream) {
  switch (StagedType(args, means)) {
    case ElementType::kF16:
      return LaunchEncodeTyped<kDim, kKind, ElementType::kF16>(args, means, stream);
    case ElementType::kBF16:
      return LaunchEncodeTyped<kDim, kKind, ElementType::kBF16>(args, means, stream);
    case ElementType::kF32:
      return LaunchEncodeTyped<kDim, kKind, ElementType::kF32>(args, means, stream);
  }
  return cudaErrorInvalidValue;
}

// One side; instantiated in a file of its own for each head_dim.
template <int kDim>
cudaError_t LaunchEncodeTurbo(CodeKind kind, const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream) {
  if (kind == kTurbo2) return LaunchEncodeKind<kDim, kTurbo2>(args, means, stream);
  if (kind == kTurbo3) return LaunchEncodeKind<kDim, kTurbo3>(args, means, stream);
  return LaunchEncodeKind<kDim, kTurbo4>(args, means, stream);
}
template <int kDim>
cudaError_t LaunchEncodeTrellis(CodeKind kind, const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream) {
  if (kind == kTrellis1) return LaunchEncodeKind<kDim, kTrellis1>(args, means, stream);
  if (kind == kTrellis2) return LaunchEncodeKind<kDim, kTrellis2>(args, means, stream);
  return LaunchEncodeKind<kDim, kTrellis3>(args, means, stream);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_KERNELS_CUH_
