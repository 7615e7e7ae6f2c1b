#include "kernels/cuda/merge.h"

#include <cuda_runtime.h>

#include "kernels/cuda/device_warp.cuh"
#include "kernels/cuda/launch_status.cuh"
#include "kernels/cuda/merge_results.h"

namespace polarkv::cuda {
namespace {

constexpr uint32_t kWarpsPerBlock = 4;

__global__ void __launch_bounds__(kWarpsPerBlock * 32) MergeResultsKernel(const __grid_constant__ MergeBatch batch) {
  const uint32_t warp = blockIdx.x * kWarpsPerBlock + threadIdx.x / 32;
  if (warp < MergeWarps(batch)) MergeResults<DeviceWarp>(batch, warp);
}

}  // namespace

LaunchError LaunchMerge(const MergeBatch& batch, void* stream) {
  if (const LaunchError error = CheckMerge(batch); error != LaunchError::kNone) return error;
  if (RowCount(batch) == 0) return LaunchError::kNone;
  const uint32_t blocks = (MergeWarps(batch) + kWarpsPerBlock - 1) / kWarpsPerBlock;
  MergeResultsKernel<<<blocks, kWarpsPerBlock * 32, 0, static_cast<cudaStream_t>(stream)>>>(batch);
  return LaunchErrorOf(cudaGetLastError());
}

}  // namespace polarkv::cuda
