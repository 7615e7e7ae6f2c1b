// The tile bodies are written once, for one warp, as templates over a warp type `W`:
//   DeviceWarp (device_warp.cuh): a value is one lane's register, an operation is one instruction;
//   HostWarp (tests/kernels/cuda/host_warp.h): a value is all 32 lanes', an operation has the instruction's exact
//   semantics, so that permutes, matrix fragments and addressing are checked without a GPU.
//
// W provides the types U32, I32, F32 with the usual operators, and
//   U32 Permute(U32 low, U32 high, U32 selector)      PRMT: bit 3 of a selector nibble replicates the byte's sign
//   U32 SelectBits(mask, U32 a, U32 b)                LOP3: a where the mask is set, b elsewhere
//   void MmaS8/MmaU8(I32 (&acc)[4], a0, a1, a2, a3, b0, b1)   m16n8k32; a: s8, b: s8 / u8. MmaF16: m16n8k16, sums in F32
//   U32 Transpose8x8(U32)                              movmatrix on 16-bit elements
//   F32 ShuffleXor(F32, lane mask), bool Any(condition)
//   F32 Fma, Max, Min, Exp2, Log2, Divide, Sine, Cosine (radians), ToFloat(I32), I32 Round(F32); bit casts AsF32, AsU32, AsI32, BitsOf
//   Shared(pointer), Global(pointer): the same pointer, known to be of that memory; I64 Wide(U32), U32 MultiplyHigh(U32, U32)
//   U32 Lane(); Select(condition, x, y) of F32 and U32; Bool And(Bool, Bool)
//   Load*/Store*: each lane at its own index, only where the condition holds (loads give 0 elsewhere); StoreOnce: one lane
//   and of the encoders and decoders: Max, ShuffleXor, Select of U32 and I32, MaxOverWarp(I32), Ballot, Not; SquareRoot and
//   DivideRounded (IEEE); CountBits, PackElements; FloatOfBits, LowHalf, HighHalf; Magnitude, LeastOfThree; DotLow,
//   DotHigh (DP2A), DotFour (DP4A); Sync between a warp's stores and loads of shared memory; LoadRowVector
// and of key means: F64, Widen, Narrow (to nearest), StoreDouble; of merging: LoadWords, StoreWords, 16 bytes at a 64-bit offset
// Control flow is uniform over the warp.
#ifndef POLARKV_KERNELS_CUDA_WARP_TYPES_H_
#define POLARKV_KERNELS_CUDA_WARP_TYPES_H_

#include <cstdint>

#include "codec/code_order.h"

#if defined(__CUDACC__)
#define POLARKV_WARP_FUNCTION __host__ __device__ __forceinline__
#define POLARKV_COLD_WARP_FUNCTION __host__ __device__ __noinline__
#define POLARKV_UNROLL _Pragma("unroll")
#define POLARKV_PRAGMA(text) _Pragma(#text)
#define POLARKV_UNROLL_BY(count) POLARKV_PRAGMA(unroll(count))
#else
#define POLARKV_WARP_FUNCTION inline
#define POLARKV_COLD_WARP_FUNCTION inline
#define POLARKV_UNROLL
#define POLARKV_UNROLL_BY(count)
#endif

namespace polarkv::cuda {

// The vector of 16 bytes that lane 4g + t reads of 32 consecutive ones (512 bytes a warp); see codec/code_order.h.
POLARKV_WARP_FUNCTION constexpr uint32_t TileVector(uint32_t lane) {
  return code_order_internal::FullGroupLane(lane / 4, lane % 4);
}

// A lane's 16-byte vector: four 32-bit words.
template <class W>
struct Words4 {
  typename W::U32 w[4];
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_WARP_TYPES_H_
