// The launch: plan, queries, scores of codes, scores of raw keys.
#include "kernels/cuda/scores.h"

#include <cuda_runtime.h>

#include "kernels/cuda/attention_kernels.cuh"
#include "kernels/cuda/launch_status.cuh"
#include "kernels/cuda/score_span.h"

namespace polarkv::cuda {
namespace {

constexpr uint32_t kRowWarps = 4;  // warps a thread block of the kernel for raw keys

// Stages with keys alone leave room for more warps than attention has.
constexpr uint32_t ScoreWarpsPerBlock(uint32_t head_dim) { return head_dim == 256 ? 10 : 16; }

template <int kDim, int kKeyKind, int kRowGroups>
__global__ void __launch_bounds__(ScoreWarpsPerBlock(kDim) * 32, 1)
    ScoreKernel(const __grid_constant__ ScoresArgs args, const PermuteTables<kKeyKind> tables) {
  using Stage = TileStage<kDim, kKeyKind, kNoCodes>;
  extern __shared__ __align__(128) uint8_t stages[];
  constexpr uint32_t kWarps = ScoreWarpsPerBlock(kDim);
  auto ring = RingOfWarp<Stage, kDim, kRowGroups, kWarps>(stages);
  ScoreSpan<DeviceWarp, kDim, kKeyKind, kRowGroups>(args, tables, blockIdx.x * kWarps + threadIdx.x / 32, ring);
}

template <int kDim>
__global__ void RawScoresKernel(const ScoresArgs args) {
  const uint32_t index = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (index < RowsOfHead::Count(args.attention)) ScoreRawKeys<DeviceWarp, kDim>(args, index);
}

template <int kDim, int kKeyKind, int kRowGroups>
cudaError_t LaunchScoreRows(const AttentionCodec& codec, const ScoresArgs& args, cudaStream_t stream) {
  const auto kernel = ScoreKernel<kDim, kKeyKind, kRowGroups>;
  constexpr uint32_t kWarps = ScoreWarpsPerBlock(kDim);
  const auto shared = SharedMemoryOf<TileStage<kDim, kKeyKind, kNoCodes>, kDim, kRowGroups, kWarps>(args.attention);
  if (const cudaError_t error = shared.Allow(kernel); error != cudaSuccess) return error;
  kernel<<<args.attention.warps / kWarps, kWarps * 32, shared.bytes(), stream>>>(
      args, MakeKeyTables<kKeyKind>(codec.key_kind, codec.key_image));
  const uint32_t blocks = (RowsOfHead::Count(args.attention) + kRowWarps - 1) / kRowWarps;
  RawScoresKernel<kDim><<<blocks, kRowWarps * 32, 0, stream>>>(args);
  return cudaGetLastError();
}

template <int kDim>
cudaError_t LaunchScoresDim(const AttentionCodec& codec, const ScoresArgs& args, cudaStream_t stream) {
  if (codec.key_kind == kPolar44) return LaunchScoreRows<kDim, kPolar44, 1>(codec, args, stream);
  if (IsSignKind(codec.key_kind)) return LaunchScoreRows<kDim, kSigns4, 1>(codec, args, stream);
  return args.attention.row_groups == 1 ? LaunchScoreRows<kDim, kAnyCodes, 1>(codec, args, stream)
                                        : LaunchScoreRows<kDim, kAnyCodes, 2>(codec, args, stream);
}

bool IsAligned(const ScoresTarget& target) {
  bool even = reinterpret_cast<uintptr_t>(target.scores) % 8 == 0;
  for (const int64_t stride : target.stride) even = even && stride % 2 == 0;
  return even;
}

}  // namespace

uint32_t ScoresWarps(uint32_t head_dim) {
  int device = 0, processors = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  if (cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) return 0;
  return static_cast<uint32_t>(processors) * ScoreWarpsPerBlock(head_dim);
}

LaunchError LaunchScores(const AttentionCodec& codec, const AttentionBatch& batch, const ScoresTarget& target,
                         uint32_t warps, void* workspace, size_t workspace_bytes, void* stream) {
  if (!IsSupported(codec, batch)) return LaunchError::kUnsupportedShape;
  if (!IsAligned(target)) return LaunchError::kMisalignedRows;
  if (warps == 0 || warps % ScoreWarpsPerBlock(codec.head_dim) != 0) return LaunchError::kWrongWarps;
  size_t needed = 0;
  const ScoresArgs args = MakeScoresArgs(codec, batch, target, warps, workspace, needed);
  if (workspace == nullptr || workspace_bytes < needed || reinterpret_cast<uintptr_t>(workspace) % 256 != 0) {
    return LaunchError::kWorkspaceTooSmall;
  }
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  cudaError_t error = LaunchPlanAndQueries(codec, args.attention, cuda_stream);
  if (error == cudaSuccess && codec.head_dim == 64) error = LaunchScoresDim<64>(codec, args, cuda_stream);
  if (error == cudaSuccess && codec.head_dim == 128) error = LaunchScoresDim<128>(codec, args, cuda_stream);
  if (error == cudaSuccess && codec.head_dim == 256) error = LaunchScoresDim<256>(codec, args, cuda_stream);
  return LaunchErrorOf(error);
}

}  // namespace polarkv::cuda
