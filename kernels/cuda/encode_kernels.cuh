// The encoders' kernel, and how one is picked: a thread block of four warps encodes one side of one tile.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_KERNELS_CUH_
#define POLARKV_KERNELS_CUDA_ENCODE_KERNELS_CUH_

#include <cuda_runtime.h>

#include "codec/turbo_codebook.h"
#include "kernels/cuda/device_warp.cuh"
#include "kernels/cuda/encode_tile.h"

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

template <int kDim, ElementType kType, int kBits, int kSide>
__global__ void __launch_bounds__(32 * kQuarters, kDim == 256 ? 3 : 5)
    EncodeKernel(const __grid_constant__ EncodeArgs args, const __grid_constant__ PermuteTables<kBits> tables) {
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
  Stage::Fill(lane, scratch.rows + first, AsyncCopy{stage});
  WaitForCopies();
  const uint64_t counted = LowestTokens(task.tokens) & ~LowestTokens(task.raw);
  EncodeQuarter<DeviceWarp, kDim, kType, kBits, kSide>(args, tables, quarter, counted, stage,
                                                       FindSidePlanes<kDim>(args, place, at, task), scratch);
  __syncthreads();
  if (quarter == 0) FinishTile<DeviceWarp>(args, task, scratch);
}

template <int kDim, ElementType kType, int kBits, int kSide>
cudaError_t LaunchEncodeSide(const EncodeArgs& args, cudaStream_t stream) {
  const auto kernel = EncodeKernel<kDim, kType, kBits, kSide>;
  constexpr uint32_t kShared = kQuarters * RowStage<kDim, kType>::kBytes;
  if (cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
      error != cudaSuccess) {
    return error;
  }
  int8_t image[16];
  for (int i = 0; i < 16; ++i) image[i] = TurboCodebookFor(TurboOfBits(kBits), kBits).image[i];
  kernel<<<dim3(args.blocks * args.tiles_per_block, args.kv_heads, args.layers), 32 * kQuarters, kShared, stream>>>(
      args, MakePermuteTables<kBits>(image));
  return cudaGetLastError();
}

template <int kDim, ElementType kType, int kSide>
cudaError_t LaunchEncodeBits(CodeKind kind, const EncodeArgs& args, cudaStream_t stream) {
  if (kind == kTurbo4) return LaunchEncodeSide<kDim, kType, kTurbo4, kSide>(args, stream);
  if (kind == kTurbo3) return LaunchEncodeSide<kDim, kType, kTurbo3, kSide>(args, stream);
  return LaunchEncodeSide<kDim, kType, kTurbo2, kSide>(args, stream);
}

template <int kDim, ElementType kType>
cudaError_t LaunchEncodeTyped(const EncodeCodec& codec, const EncodeBatch& batch, cudaStream_t stream) {
  if (batch.means.source == MeanSource::kNone) {  // else encode_means_kernels.cuh has kernels for the keys
    const cudaError_t error =
        LaunchEncodeBits<kDim, kType, 0>(codec.key_kind, MakeEncodeArgs(codec, batch, KvSide::kKey), stream);
    if (error != cudaSuccess) return error;
  }
  return LaunchEncodeBits<kDim, kType, 1>(codec.value_kind, MakeEncodeArgs(codec, batch, KvSide::kValue), stream);
}

// Instantiated in a file of its own for each head_dim.
template <int kDim>
cudaError_t LaunchEncodeDim(const EncodeCodec& codec, const EncodeBatch& batch, cudaStream_t stream) {
  switch (batch.rows.type) {
    case ElementType::kF16:
      return LaunchEncodeTyped<kDim, ElementType::kF16>(codec, batch, stream);
    case ElementType::kBF16:
      return LaunchEncodeTyped<kDim, ElementType::kBF16>(codec, batch, stream);
    case ElementType::kF32:
      return LaunchEncodeTyped<kDim, ElementType::kF32>(codec, batch, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_KERNELS_CUH_
