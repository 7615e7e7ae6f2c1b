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

// The kernels before those that read tiles: lengths, the table of key means, queries.
cudaError_t LaunchPlanAndQueries(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream);

// A warp's stages in shared memory. Copies of a lane are seen by the other lanes after Wait.
template <class Stage>
class DeviceRing {
 public:
  // `scratch`: kMeanScratchBytes, the warp's own.
  __device__ __forceinline__ DeviceRing(uint8_t* stages, uint8_t* scratch)
      : stages_(stages), scratch_(scratch), address_(static_cast<uint32_t>(__cvta_generic_to_shared(stages))) {}

  __device__ __forceinline__ void Fill(uint32_t stage, const TileAddress& tile) const {
    const uint32_t to = address_ + stage * Stage::kBytes;
    Stage::Fill(tile, threadIdx.x % 32, [to](bool condition, uint32_t offset, const uint8_t* from) {
      // A predicate and not a copy of no bytes, which would write zeros where another lane's copy goes.
      asm volatile(
          "{\n.reg .pred there;\nsetp.ne.u32 there, %2, 0;\n@there cp.async.cg.shared.global [%0], [%1], 16;\n}" ::"r"(
              to + offset),
          "l"(from), "r"(condition ? 1u : 0u)
          : "memory");
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

// What a block's warps need: their rings, and with key means the scratch.
struct SharedMemory {
  uint32_t stages, scratch;
  bool means;

  uint32_t bytes() const { return stages + (means ? scratch : 0); }
  // Whether there are key means or not, as much is allowed as they take, so that launches of several threads agree; where
  // the device has not so much, without them as much as the stages take.
  template <class Kernel>
  cudaError_t Allow(Kernel kernel) const {
    constexpr auto kMost = cudaFuncAttributeMaxDynamicSharedMemorySize;
    const cudaError_t error = cudaFuncSetAttribute(kernel, kMost, static_cast<int>(stages + scratch));
    if (error == cudaSuccess || means) return error;
    cudaGetLastError();
    return cudaFuncSetAttribute(kernel, kMost, static_cast<int>(stages));
  }
};

template <class Stage, int kDim, int kRowGroups, uint32_t kWarps>
SharedMemory SharedMemoryOf(const AttentionArgs& args) {
  constexpr uint32_t kStages = kWarps * kRingStages * Stage::kBytes;
  constexpr uint32_t kScratch = kWarps * kMeanScratchBytes<kDim, kRowGroups>;
  static_assert(kStages + kScratch <= 227 * 1024);
  return {kStages, kScratch, args.mean_table != nullptr};
}
// A warp's part of it: the rings of all warps, then the scratch of all.
template <class Stage, int kDim, int kRowGroups, uint32_t kWarps>
__device__ __forceinline__ DeviceRing<Stage> RingOfWarp(uint8_t* shared) {
  const uint32_t in_block = threadIdx.x / 32;
  uint8_t* const scratch = shared + kWarps * kRingStages * Stage::kBytes;
  return {shared + in_block * kRingStages * Stage::kBytes, scratch + in_block * kMeanScratchBytes<kDim, kRowGroups>};
}

template <int kDim, int kKeyKind, int kRowGroups>
__global__ void __launch_bounds__(WarpsPerBlock(kDim) * 32, 1)
    AttendKernel(const __grid_constant__ AttentionArgs args, const PermuteTables<kKeyKind> key_tables,
                 const PermuteTables<kAnyCodes> value_tables) {
  using Stage = TileStage<kDim, kKeyKind, kAnyCodes>;
  extern __shared__ __align__(128) uint8_t stages[];
  constexpr uint32_t kWarps = WarpsPerBlock(kDim);
  auto ring = RingOfWarp<Stage, kDim, kRowGroups, kWarps>(stages);
  AttendSpan<DeviceWarp, kDim, kKeyKind, kAnyCodes, kRowGroups>(args, key_tables, value_tables,
                                                                blockIdx.x * kWarps + threadIdx.x / 32, ring);
}

template <int kDim, int kKeyKind, int kRowGroups>
cudaError_t LaunchAttend(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  const auto kernel = AttendKernel<kDim, kKeyKind, kRowGroups>;
  constexpr uint32_t kWarps = WarpsPerBlock(kDim);
  const auto shared = SharedMemoryOf<TileStage<kDim, kKeyKind, kAnyCodes>, kDim, kRowGroups, kWarps>(args);
  if (const cudaError_t error = shared.Allow(kernel); error != cudaSuccess) return error;
  kernel<<<args.warps / kWarps, kWarps * 32, shared.bytes(), stream>>>(
      args, MakeKeyTables<kKeyKind>(codec.key_kind, codec.key_image), MakeAnyTables(codec.value_kind, codec.value_image));
  return cudaGetLastError();
}

// In attend_polar.cu and attend_signs.cu.
#define POLARKV_ATTEND_SKETCHES(keyword, dim, keys) \
  keyword template cudaError_t LaunchAttend<dim, keys, 1>(const AttentionCodec&, const AttentionArgs&, cudaStream_t)
POLARKV_ATTEND_SKETCHES(extern, 64, kPolar44);
POLARKV_ATTEND_SKETCHES(extern, 128, kPolar44);
POLARKV_ATTEND_SKETCHES(extern, 256, kPolar44);
POLARKV_ATTEND_SKETCHES(extern, 64, kSigns4);
POLARKV_ATTEND_SKETCHES(extern, 128, kSigns4);
POLARKV_ATTEND_SKETCHES(extern, 256, kSigns4);

// Instantiated in attend_dim*.cu, one head_dim a file, so that they compile side by side.
template <int kDim>
cudaError_t LaunchAttendDim(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  if (codec.key_kind == kPolar44) return LaunchAttend<kDim, kPolar44, 1>(codec, args, stream);
  if (IsSignKind(codec.key_kind)) return LaunchAttend<kDim, kSigns4, 1>(codec, args, stream);
  return args.row_groups == 1 ? LaunchAttend<kDim, kAnyCodes, 1>(codec, args, stream)
                              : LaunchAttend<kDim, kAnyCodes, 2>(codec, args, stream);
}

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_ATTENTION_KERNELS_CUH_
