// The launch: plan, queries, raw tokens, attention, merge.
#include "kernels/cuda/attention.h"

#include <cuda_runtime.h>

#include "kernels/cuda/attention_kernels.cuh"
#include "kernels/cuda/launch_status.cuh"
#include "kernels/cuda/mean_table.h"
#include "kernels/cuda/plan_tiles.h"
#include "kernels/cuda/raw_tokens.h"

namespace polarkv::cuda {

extern template cudaError_t LaunchAttendDim<64>(const AttentionCodec&, const AttentionArgs&, cudaStream_t);
extern template cudaError_t LaunchAttendDim<128>(const AttentionCodec&, const AttentionArgs&, cudaStream_t);
extern template cudaError_t LaunchAttendDim<256>(const AttentionCodec&, const AttentionArgs&, cudaStream_t);

namespace {

constexpr uint32_t kRowWarps = 4;  // warps a thread block of the small kernels

__global__ void PlanKernel(const AttentionArgs args) { PlanTiles<DeviceWarp>(args); }

template <int kDim>
__global__ void MeanTableKernel(const __grid_constant__ KeyMeanTurns turns, uint8_t* table) {
  MakeMeanTable<DeviceWarp, kDim>(turns, threadIdx.x / 32, table);
}

template <int kDim, ElementType kType>
__global__ void PrepareKernel(const AttentionArgs args) {
  const uint32_t index = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (index < RowsOfHead::Count(args)) PrepareRows<DeviceWarp, kDim, kType>(args, index);
}

template <int kDim>
__global__ void RawTokensKernel(const AttentionArgs args) {
  const uint32_t index = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (index < RowsOfHead::Count(args)) AttendRawTokens<DeviceWarp, kDim>(args, index);
}

template <int kDim, ElementType kType>
__global__ void MergeKernel(const AttentionArgs args) {
  const uint32_t index = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (index < RowsOfHead::Count(args)) MergeRows<DeviceWarp, kDim, kType>(args, index);
}

template <int kDim, ElementType kType>
void LaunchQueries(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  const uint32_t blocks = (RowsOfHead::Count(args) + kRowWarps - 1) / kRowWarps;
  PlanKernel<<<1, 32, 0, stream>>>(args);
  if (codec.means.any) {
    MeanTableKernel<kDim><<<1, MeanTable<kDim>::kWarps * 32, 0, stream>>>(codec.means, args.mean_table);
  }
  PrepareKernel<kDim, kType><<<blocks, kRowWarps * 32, 0, stream>>>(args);
}

template <int kDim>
cudaError_t LaunchQueriesOfDim(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  if (args.batch.type == ElementType::kF16) LaunchQueries<kDim, ElementType::kF16>(codec, args, stream);
  if (args.batch.type == ElementType::kBF16) LaunchQueries<kDim, ElementType::kBF16>(codec, args, stream);
  if (args.batch.type == ElementType::kF32) LaunchQueries<kDim, ElementType::kF32>(codec, args, stream);
  return cudaGetLastError();
}

template <int kDim, ElementType kType>
cudaError_t LaunchAll(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  const uint32_t blocks = (RowsOfHead::Count(args) + kRowWarps - 1) / kRowWarps;
  LaunchQueries<kDim, kType>(codec, args, stream);
  RawTokensKernel<kDim><<<blocks, kRowWarps * 32, 0, stream>>>(args);
  if (cudaError_t error = LaunchAttendDim<kDim>(codec, args, stream); error != cudaSuccess) return error;
  MergeKernel<kDim, kType><<<blocks, kRowWarps * 32, 0, stream>>>(args);
  return cudaGetLastError();
}

template <int kDim>
cudaError_t LaunchTyped(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  switch (args.batch.type) {
    case ElementType::kF16:
      return LaunchAll<kDim, ElementType::kF16>(codec, args, stream);
    case ElementType::kBF16:
      return LaunchAll<kDim, ElementType::kBF16>(codec, args, stream);
    case ElementType::kF32:
      return LaunchAll<kDim, ElementType::kF32>(codec, args, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t LaunchPlanAndQueries(const AttentionCodec& codec, const AttentionArgs& args, cudaStream_t stream) {
  if (args.head_dim == 64) return LaunchQueriesOfDim<64>(codec, args, stream);
  if (args.head_dim == 128) return LaunchQueriesOfDim<128>(codec, args, stream);
  return LaunchQueriesOfDim<256>(codec, args, stream);
}

uint32_t AttentionWarps(uint32_t head_dim) {
  int device = 0, processors = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  if (cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) return 0;
  return static_cast<uint32_t>(processors) * WarpsPerBlock(head_dim);
}

LaunchError LaunchAttention(const AttentionCodec& codec, const AttentionBatch& batch, uint32_t warps, void* workspace,
                            size_t workspace_bytes, void* stream) {
  if (!IsSupported(codec, batch) || !(batch.scale >= 0)) return LaunchError::kUnsupportedShape;
  if (warps == 0 || warps % WarpsPerBlock(codec.head_dim) != 0) return LaunchError::kWrongWarps;
  size_t needed = 0;
  const AttentionArgs args = MakeAttentionArgs(codec, batch, warps, workspace, needed);
  if (workspace == nullptr || workspace_bytes < needed || reinterpret_cast<uintptr_t>(workspace) % 256 != 0) {
    return LaunchError::kWorkspaceTooSmall;
  }
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  cudaError_t error = cudaSuccess;
  if (codec.head_dim == 64) error = LaunchTyped<64>(codec, args, cuda_stream);
  if (codec.head_dim == 128) error = LaunchTyped<128>(codec, args, cuda_stream);
  if (codec.head_dim == 256) error = LaunchTyped<256>(codec, args, cuda_stream);
  return LaunchErrorOf(error);
}

}  // namespace polarkv::cuda
