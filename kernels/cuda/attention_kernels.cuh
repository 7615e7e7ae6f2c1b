// The kernels around the warp programs, and how one is picked.
#ifndef POLARKV_KERNELS_CUDA_ATTENTION_KERNELS_CUH_
#define POLARKV_KERNELS_CUDA_ATTENTION_KERNELS_CUH_

#include <cuda_runtime.h>

#include "kernels/cuda/attend_span.h"
#include "kernels/cuda/device_warp.cuh"
#include "kernels/cuda/merge_rows.h"

namespace polarkv::cuda {

// As many as the stages leave room for in 227 KiB of shared memory.
constexpr uint32_t WarpsPerBlock(uint32_t head_dim) { return head_dim == 256 ? 6 : 8; }

// A warp's stages in shared memory. Copies of a lane are seen by the other lanes after Wait.
template <class Stage>
class DeviceRing {
 public:
  // `scratch`: kMeanScratchBytes, the warp's own.
  __device__ __forceinline__ DeviceRing(uint8_t* stages, uint8_t* scratch)
      : stages_(stages), scratch_(scratch), address_(static_cast<uint32_t>(__cvta_generic_to_shared(stages))) {}

  __device__ __forceinline__ void Fill(uint32_t stage, const TileAddress& tile) const {
    const uint32_t to = address_ + stage * Stage::kBytes;
    Stage::Fill(tile, threadIdx.x % 32, [to](uint32_t offset, const uint8_t* from) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + offset), "l"(from) : "memory");
    });
  }
  __device__ __forceinline__ void Commit() const { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <uint32_t kPending>
  __device__ __forceinline__ void Wait() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
    __syncwarp();
  }
  // All lanes have read what they need of the stage.
  __device__ __forceinline__ void Release() const { __syncwarp(); }
  __device__ __forceinline__ const uint8_t* Bytes(uint32_t stage) const { return stages_ + stage * Stage::kBytes; }
  __device__ __forceinline__ uint8_t* Scratch() const { return scratch_; }

 private:
  uint8_t *stages_, *scratch_;
  uint32_t address_;
};

template <int kDim, int kKeyKind, int kValueKind, int kRowGroups>
__global__ void __launch_bounds__(WarpsPerBlock(kDim) * 32, 1)
    AttendKernel(const __grid_constant__ AttentionArgs args, const PermuteTables<kKeyKind> key_tables,
                 const PermuteTables<kValueKind> value_tables) {
  using Stage = TileStage<kDim, kKeyKind, kValueKind>;
  extern __shared__ __align__(128) uint8_t stages[];
  const uint32_t in_block = threadIdx.x / 32;
  uint8_t* const scratch = stages + WarpsPerBlock(kDim) * kRingStages * Stage::kBytes;
  DeviceRing<Stage> ring(stages + in_block * kRingStages * Stage::kBytes,
                         scratch + in_block * kMeanScratchBytes<kDim, kRowGroups>);
  AttendSpan<DeviceWarp, kDim, kKeyKind, kValueKind, kRowGroups>(args, key_tables, value_tables,
                                                                 blockIdx.x * WarpsPerBlock(kDim) + in_block, ring);
}

template <int kDim, int kKeyKind, int kValueKind, int kRowGroups>
cudaError_t LaunchAttend(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  const auto kernel = AttendKernel<kDim, kKeyKind, kValueKind, kRowGroups>;
  constexpr uint32_t kWarps = WarpsPerBlock(kDim);
  constexpr uint32_t kStages = kWarps * kRingStages * TileStage<kDim, kKeyKind, kValueKind>::kBytes;
  constexpr uint32_t kScratch = kWarps * kMeanScratchBytes<kDim, kRowGroups>;
  static_assert(kStages + kScratch <= 227 * 1024);
  // Whether there are key means or not, as much is allowed as they take, so that launches of several threads agree; where
  // the device has not so much, without them as much as the stages take.
  constexpr auto kMost = cudaFuncAttributeMaxDynamicSharedMemorySize;
  cudaError_t error = cudaFuncSetAttribute(kernel, kMost, kStages + kScratch);
  if (error != cudaSuccess && args.mean_table == nullptr) {
    cudaGetLastError();
    error = cudaFuncSetAttribute(kernel, kMost, kStages);
  }
  if (error != cudaSuccess) return error;
  const uint32_t shared = kStages + (args.mean_table == nullptr ? 0 : kScratch);
  kernel<<<args.warps / kWarps, kWarps * 32, shared, stream>>>(
      args, MakePermuteTables<kKeyKind>(codec.key_image), MakePermuteTables<kValueKind>(codec.value_image));
  return cudaGetLastError();
}

template <int kDim, int kKeyKind, int kValueKind>
cudaError_t LaunchAttendRows(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  return args.row_groups == 1 ? LaunchAttend<kDim, kKeyKind, kValueKind, 1>(codec, args, stream)
                              : LaunchAttend<kDim, kKeyKind, kValueKind, 2>(codec, args, stream);
}

template <int kDim, int kKeyKind>
cudaError_t LaunchAttendKeys(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  if constexpr (IsTrellisKind(kKeyKind)) {
    if (codec.value_kind == kTrellis3) return LaunchAttendRows<kDim, kKeyKind, kTrellis3>(codec, args, stream);
    return LaunchAttendRows<kDim, kKeyKind, kTrellis2>(codec, args, stream);
  } else {
    if (codec.value_kind == kTurbo4) return LaunchAttendRows<kDim, kKeyKind, kTurbo4>(codec, args, stream);
    if (codec.value_kind == kTurbo3) return LaunchAttendRows<kDim, kKeyKind, kTurbo3>(codec, args, stream);
    return LaunchAttendRows<kDim, kKeyKind, kTurbo2>(codec, args, stream);
  }
}

// Instantiated in attend_dim*.cu, one head_dim a file, so that they compile side by side.
template <int kDim>
cudaError_t LaunchAttendDim(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  if (codec.key_kind == kTurbo4) return LaunchAttendKeys<kDim, kTurbo4>(codec, args, stream);
  if (codec.key_kind == kTurbo3) return LaunchAttendKeys<kDim, kTurbo3>(codec, args, stream);
  if (codec.key_kind == kTurbo2) return LaunchAttendKeys<kDim, kTurbo2>(codec, args, stream);
  if (codec.key_kind == kTrellis3) return LaunchAttendKeys<kDim, kTrellis3>(codec, args, stream);
  return LaunchAttendKeys<kDim, kTrellis2>(codec, args, stream);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ATTENTION_KERNELS_CUH_
