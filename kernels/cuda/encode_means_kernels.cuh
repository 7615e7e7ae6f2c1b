// The kernels that find a block's own key means.
#ifndef POLARKV_KERNELS_CUDA_ENCODE_MEANS_KERNELS_CUH_
#define POLARKV_KERNELS_CUDA_ENCODE_MEANS_KERNELS_CUH_

#include <cuda_runtime.h>

#include "kernels/cuda/device_warp.cuh"
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

// Looks at all keys, then decides; twice where blocks may be long. Instantiated in a file of its own for each head_dim.
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

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ENCODE_MEANS_KERNELS_CUH_
