// The kernels of key means, and the encoders' kernel of keys that lose them. Rows of all types are staged as floats, so
// that one kernel for each kind of codes is enough.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_MEANS_KERNELS_CUH_
#define POLARKV_KERNELS_CUDA_ENCODE_MEANS_KERNELS_CUH_

#include "kernels/cuda/encode_kernels.cuh"
#include "kernels/cuda/encode_keys.h"
#include "kernels/cuda/mean_decision.h"

namespace polarkv::cuda {

inline constexpr uint32_t kSumWarps = 4, kDecideWarps = 8;  // of a thread block

// A warp a tile. `look`: see TileLook.
template <int kDim>
__global__ void __launch_bounds__(32 * kSumWarps)
    SumKernel(const __grid_constant__ EncodeArgs args, const __grid_constant__ MeanArgs means, uint32_t look) {
  __shared__ __align__(16) SumScratch<kDim> scratches[kSumWarps];
  const uint32_t warp = threadIdx.x / 32, number = blockIdx.x * kSumWarps + warp;
  if (number >= args.blocks * args.tiles_per_block) return;
  const EncodeCursor at{number / args.tiles_per_block, blockIdx.z, blockIdx.y, number % args.tiles_per_block};
  const TileLook<kDim> tile(args, means, at, look);
  if (!tile.Takes()) return;
  SumScratch<kDim>& scratch = scratches[warp];
  for (uint32_t token = threadIdx.x % 32; token < kTileTokens; token += 32) scratch.rows[token] = tile.Row(token);
  __syncwarp();
  tile.template Sum<DeviceWarp>(scratch);
}

// A thread block a layer of a block, a warp a head after the other.
template <int kDim>
__global__ void __launch_bounds__(32 * kDecideWarps)
    DecideKernel(const __grid_constant__ EncodeArgs args, const __grid_constant__ MeanArgs means, uint32_t look) {
  __shared__ double shared[kDecideWarps][kDim];
  const uint32_t warp = threadIdx.x / 32, block = blockIdx.x, layer = blockIdx.y;
  const LayerLook<kDim> at(args, means, block, layer, look);
  if (!at.Takes()) return;
  for (uint32_t head = warp; head < args.kv_heads; head += kDecideWarps) {
    at.template Combine<DeviceWarp>(head, shared[warp]);
  }
  __syncthreads();
  const bool pays = at.Pays();
  for (uint32_t head = warp; head < args.kv_heads; head += kDecideWarps) {
    at.template Store<DeviceWarp>(head, pays, shared[warp]);
  }
}

template <int kDim, int kKind>
__global__ void __launch_bounds__(32 * kQuarters, ThreadBlocksAnSm(kDim, kKind))
    EncodeKeysKernel(const __grid_constant__ EncodeArgs args, const __grid_constant__ MeanArgs means,
                     const __grid_constant__ PermuteTables<kKind> tables) {
  using Stage = RowStage<kDim, ElementType::kF32>;
  extern __shared__ __align__(16) uint8_t stages[];
  __shared__ TileScratch scratch;
  __shared__ uint32_t taken[kQuarters];
  const uint32_t quarter = threadIdx.x / 32;
  const EncodeCursor at{blockIdx.x / args.tiles_per_block, blockIdx.z, blockIdx.y, blockIdx.x % args.tiles_per_block};
  const EncodedPlace& place = args.places[at.block];
  TileTask task;
  if (!FindTileTask(args, place, at, task)) return;
  const uint32_t first = quarter * kQuarterTokens, lane = threadIdx.x % 32;
  if (lane < kQuarterTokens) scratch.rows[first + lane] = FindRow(args, place, at, task, first + lane);
  __syncwarp();
  taken[quarter] = EncodeKeysQuarter<DeviceWarp, kDim, kKind>(args, means, tables, at, task, quarter,
                                                              stages + quarter * Stage::kBytes, scratch);
  __syncthreads();
  if (quarter == 0) FinishTile<DeviceWarp>(args, task, scratch, TileMeansOf<kDim>(args, means, at, taken));
}

template <int kDim, int kKind>
cudaError_t LaunchKeysOfKind(const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream) {
  const auto kernel = EncodeKeysKernel<kDim, kKind>;
  constexpr uint32_t kShared = kQuarters * RowStage<kDim, ElementType::kF32>::kBytes;
  if (cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
      error != cudaSuccess) {
    return error;
  }
  kernel<<<dim3(args.blocks * args.tiles_per_block, args.kv_heads, args.layers), 32 * kQuarters, kShared, stream>>>(
      args, means, MakePermuteTables<kKind>(ImagesOfKind(static_cast<CodeKind>(kKind)).image));
  return cudaGetLastError();
}

// Looks at all keys, then decides; twice where blocks may be long.
template <int kDim>
cudaError_t LaunchOwnMeans(const EncodeArgs& args, const MeanArgs& means, cudaStream_t stream) {
  const uint32_t tiles = args.blocks * args.tiles_per_block;
  const bool long_blocks =
      means.source == MeanSource::kOwnWherePaying && args.tiles_per_block * kTileTokens >= kLongBlock;
  for (uint32_t look = 0; look < (long_blocks ? 2u : 1u); ++look) {
    SumKernel<kDim>
        <<<dim3((tiles + kSumWarps - 1) / kSumWarps, args.kv_heads, args.layers), 32 * kSumWarps, 0, stream>>>(
            args, means, look);
    DecideKernel<kDim><<<dim3(args.blocks, args.layers), 32 * kDecideWarps, 0, stream>>>(args, means, look);
  }
  return cudaGetLastError();
}

// The keys of a launch with means, whose directions are in the workspace. Instantiated in a file of its own for each
// head_dim.
template <int kDim>
cudaError_t LaunchKeysWithMeans(const EncodeCodec& codec, const EncodeBatch& batch, cudaStream_t stream) {
  const EncodeArgs args = MakeEncodeArgs(codec, batch, KvSide::kKey);
  const MeanArgs means = MakeMeanArgs(codec, batch);
  if (AreOwn(means.source)) {
    if (const cudaError_t error = LaunchOwnMeans<kDim>(args, means, stream); error != cudaSuccess) return error;
  }
  switch (codec.key_kind) {
    case kTurbo2:
      return LaunchKeysOfKind<kDim, kTurbo2>(args, means, stream);
    case kTurbo3:
      return LaunchKeysOfKind<kDim, kTurbo3>(args, means, stream);
    case kTurbo4:
      return LaunchKeysOfKind<kDim, kTurbo4>(args, means, stream);
    case kTrellis1:
      return LaunchKeysOfKind<kDim, kTrellis1>(args, means, stream);
    case kTrellis2:
      return LaunchKeysOfKind<kDim, kTrellis2>(args, means, stream);
    case kTrellis3:
      return LaunchKeysOfKind<kDim, kTrellis3>(args, means, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_MEANS_KERNELS_CUH_
