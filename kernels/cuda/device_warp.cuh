// The warp of warp_types.h on the device: one lane's registers, one instruction per operation.
#ifndef POLARKV_KERNELS_CUDA_DEVICE_WARP_CUH_
#define POLARKV_KERNELS_CUDA_DEVICE_WARP_CUH_

#include <cuda_fp16.h>

#include <cstdint>

namespace polarkv::cuda {

struct DeviceWarp {
  using U32 = uint32_t;
  using I32 = int32_t;
  using F32 = float;

  static __device__ __forceinline__ uint32_t Lane() { return threadIdx.x % 32; }

  static __device__ __forceinline__ uint32_t Permute(uint32_t low, uint32_t high, uint32_t selector) {
    uint32_t result;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(low), "r"(high), "r"(selector));
    return result;
  }
  // Bits of `a` where the mask is set, of `b` elsewhere: one LOP3.
  static __device__ __forceinline__ uint32_t SelectBits(uint32_t mask, uint32_t a, uint32_t b) {
    uint32_t result;
    asm("lop3.b32 %0, %1, %2, %3, 0xCA;" : "=r"(result) : "r"(mask), "r"(a), "r"(b));
    return result;
  }
  static __device__ __forceinline__ uint32_t Transpose8x8(uint32_t x) {
    uint32_t result;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(x));
    return result;
  }
  static __device__ __forceinline__ void MmaS8(int32_t (&acc)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                               uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
  static __device__ __forceinline__ void MmaU8(int32_t (&acc)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                               uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }

  static __device__ __forceinline__ float ShuffleXor(float x, int mask) {
    return __shfl_xor_sync(0xFFFFFFFFu, x, mask);
  }
  static __device__ __forceinline__ bool Any(bool condition) { return __any_sync(0xFFFFFFFFu, condition); }
  static __device__ __forceinline__ float Select(bool condition, float yes, float no) { return condition ? yes : no; }
  static __device__ __forceinline__ float Fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
  static __device__ __forceinline__ float Max(float a, float b) { return fmaxf(a, b); }
  static __device__ __forceinline__ float Min(float a, float b) { return fminf(a, b); }
  static __device__ __forceinline__ float Exp2(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
  }
  static __device__ __forceinline__ float ToFloat(int32_t x) { return __int2float_rn(x); }
  static __device__ __forceinline__ float AsF32(int32_t x) { return __int_as_float(x); }
  static __device__ __forceinline__ float AsF32(uint32_t x) { return __uint_as_float(x); }
  static __device__ __forceinline__ uint32_t AsU32(float x) { return __float_as_uint(x); }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DEVICE_WARP_CUH_
