// The bare tile loop: every warp streams tiles through its ring and attends to them; no splits, no merge. What its
// compiled form needs per tile is counted by count_instructions.py, what it reaches on a device bounds the attention
// kernel.
#include "kernels/cuda/tile_ring.cuh"
#include "tests/bench/cuda/tile_loop.cuh"

namespace polarkv::cuda {
namespace {

template <int kBits>
__device__ __forceinline__ PermuteTables<kBits> LoadTables(const uint32_t* words) {
  PermuteTables<kBits> tables;
  if constexpr (kBits == 4) {
    // One permute operand may be an immediate; the other must come from memory, or the compiler copies it before each
    // use.
    constexpr int8_t kImage[16] = {-123, -93, -73, -57, -43, -30, -18, -6, 6, 18, 30, 43, 57, 73, 93, 123};
    constexpr PermuteTables<4> kConstant = MakePermuteTables4(kImage);
    tables = kConstant;
    POLARKV_UNROLL
    for (int kind = 0; kind < 4; ++kind) {
      tables.word[kind][0] = words[2 * kind];
      tables.word[kind][2] = words[2 * kind + 1];
    }
  } else {
    POLARKV_UNROLL
    for (int i = 0; i < kBits - 1; ++i) tables.word[i] = words[i];
  }
  return tables;
}

__device__ __forceinline__ TileAddress AddressOf(const TileLoopArguments& arguments, uint32_t tile) {
  TileAddress address;
  address.base = arguments.base + size_t{tile} * arguments.base_stride;
  for (int i = 0; i < 4; ++i)
    address.refine[i / 2][i % 2] = arguments.refine[i] + size_t{tile} * arguments.refine_stride;
  return address;
}

}  // namespace

template <int kDim, int kKeyBits, int kValueBits, int kRowGroups, int kThreads>
__global__ void __launch_bounds__(kThreads, 1) TileLoop(const __grid_constant__ TileLoopArguments arguments) {
  using Stage = TileStage<kDim, kKeyBits, kValueBits>;
  extern __shared__ __align__(128) uint8_t shared[];
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint8_t* const ring = shared + warp * 2 * Stage::kBytes;
  const uint32_t ring_address = static_cast<uint32_t>(__cvta_generic_to_shared(ring));

  QueryOperand<DeviceWarp, kDim> queries[kRowGroups];
  OutputState<DeviceWarp, kDim> state[kRowGroups];
  const uint32_t* query_word = arguments.queries + lane;
  for (int n = 0; n < kRowGroups; ++n) {
    for (auto& group : queries[n].group) {
      for (int i = 0; i < 4; ++i, query_word += 32) group.b[i / 2][i % 2] = *query_word;
    }
    for (int c = 0; c < 2; ++c, query_word += 32) queries[n].scale[c] = __uint_as_float(*query_word);
    state[n].Clear();
  }
  const auto key_tables = LoadTables<kKeyBits>(arguments.key_tables);
  const auto value_tables = LoadTables<kValueBits>(arguments.value_tables);

  const uint32_t step = gridDim.x * (kThreads / 32);
  uint32_t tile = blockIdx.x * (kThreads / 32) + warp;
  if (tile < arguments.tiles) Stage::Fill(ring_address, AddressOf(arguments, tile), lane);
  asm volatile("cp.async.commit_group;" ::: "memory");
  uint32_t phase = 0;
#pragma unroll 1
  for (; tile < arguments.tiles; tile += step) {
    if (tile + step < arguments.tiles) {
      Stage::Fill(ring_address + (phase ^ 1) * Stage::kBytes, AddressOf(arguments, tile + step), lane);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncwarp();
    const uint8_t* const stage = ring + phase * Stage::kBytes;
    const TileHead* const head = reinterpret_cast<const TileHead*>(stage);
    const TileFacts facts = MakeTileFacts(*head);
    AttendTile<DeviceWarp, kDim, kKeyBits, kValueBits, kRowGroups>(StagedTile<kDim, kKeyBits, kValueBits>(stage, lane),
                                                                   facts, key_tables, value_tables, queries, state);
    __syncwarp();
    phase ^= 1;
  }

  float* out = arguments.out + (blockIdx.x * kThreads + threadIdx.x);
  const size_t stride = size_t{gridDim.x} * kThreads;
  for (int n = 0; n < kRowGroups; ++n) {
    for (const auto& group : state[n].o) {
      for (const auto& word : group) {
        for (int i = 0; i < 4; ++i, out += stride) *out = word[i];
      }
    }
    for (int c = 0; c < 2; ++c, out += 2 * stride) {
      out[0] = state[n].reference[c];
      out[stride] = state[n].sum[c];
    }
  }
}

template __global__ void TileLoop<128, 4, 4, 1, 384>(const __grid_constant__ TileLoopArguments);
template __global__ void TileLoop<128, 4, 2, 1, 384>(const __grid_constant__ TileLoopArguments);
template __global__ void TileLoop<128, 3, 3, 1, 384>(const __grid_constant__ TileLoopArguments);
template __global__ void TileLoop<128, 2, 2, 1, 384>(const __grid_constant__ TileLoopArguments);
template __global__ void TileLoop<256, 4, 4, 1, 256>(const __grid_constant__ TileLoopArguments);

}  // namespace polarkv::cuda
