// The warp of warp_types.h on the device: one lane's registers, one instruction per operation.
#ifndef POLARKV_KERNELS_CUDA_DEVICE_WARP_CUH_
#define POLARKV_KERNELS_CUDA_DEVICE_WARP_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/warp_types.h"

namespace polarkv::cuda {

struct DeviceWarp {
  using U32 = uint32_t;
  using I32 = int32_t;
  using F32 = float;
  using I64 = int64_t;
  using F64 = double;
  using Bool = bool;

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

  static __device__ __forceinline__ void MmaF16(float (&acc)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                                uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
  // To 2^-20 within a turn of 0.
  static __device__ __forceinline__ float Sine(float x) { return __sinf(x); }
  static __device__ __forceinline__ float Cosine(float x) { return __cosf(x); }

  static __device__ __forceinline__ float ShuffleXor(float x, int mask) {
    return __shfl_xor_sync(0xFFFFFFFFu, x, mask);
  }
  static __device__ __forceinline__ bool Any(bool condition) { return __any_sync(0xFFFFFFFFu, condition); }
  static __device__ __forceinline__ float Select(bool condition, float yes, float no) { return condition ? yes : no; }
  static __device__ __forceinline__ float Fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
  static __device__ __forceinline__ float Max(float a, float b) { return fmaxf(a, b); }
  static __device__ __forceinline__ float Min(float a, float b) { return fminf(a, b); }
  static __device__ __forceinline__ float Magnitude(float x) { return fabsf(x); }
  // Of numbers that are not negative, infinity included: their bits order as they do.
  static __device__ __forceinline__ float LeastOfThree(float a, float b, float c) {
    return __int_as_float(__vimin3_s32(__float_as_int(a), __float_as_int(b), __float_as_int(c)));
  }
  static __device__ __forceinline__ float Exp2(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
  }
  static __device__ __forceinline__ float ToFloat(int32_t x) { return __int2float_rn(x); }
  static __device__ __forceinline__ float AsF32(int32_t x) { return __int_as_float(x); }
  static __device__ __forceinline__ uint32_t AsU32(float x) { return __float_as_uint(x); }
  static __device__ __forceinline__ int32_t AsI32(uint32_t x) { return static_cast<int32_t>(x); }
  static __device__ __forceinline__ uint32_t BitsOf(int32_t x) { return static_cast<uint32_t>(x); }
  static __device__ __forceinline__ int64_t Wide(uint32_t x) { return x; }
  static __device__ __forceinline__ int32_t Round(float x) { return __float2int_rn(x); }
  static __device__ __forceinline__ float Log2(float x) { return __log2f(x); }
  static __device__ __forceinline__ float Divide(float a, float b) { return __fdividef(a, b); }
  static __device__ __forceinline__ uint32_t Select(bool condition, uint32_t yes, uint32_t no) {
    return condition ? yes : no;
  }
  static __device__ __forceinline__ bool And(bool a, bool b) { return a && b; }

  static __device__ __forceinline__ uint32_t ShuffleXor(uint32_t x, int mask) {
    return __shfl_xor_sync(0xFFFFFFFFu, x, mask);
  }
  static __device__ __forceinline__ int32_t ShuffleXor(int32_t x, int mask) {
    return __shfl_xor_sync(0xFFFFFFFFu, x, mask);
  }
  static __device__ __forceinline__ uint32_t Max(uint32_t a, uint32_t b) { return max(a, b); }
  static __device__ __forceinline__ int32_t Max(int32_t a, int32_t b) { return max(a, b); }
  static __device__ __forceinline__ int32_t MaxOverWarp(int32_t x) { return __reduce_max_sync(0xFFFFFFFFu, x); }
  static __device__ __forceinline__ uint32_t Ballot(bool condition) { return __ballot_sync(0xFFFFFFFFu, condition); }
  static __device__ __forceinline__ int32_t Select(bool condition, int32_t yes, int32_t no) {
    return condition ? yes : no;
  }
  static __device__ __forceinline__ bool Not(bool a) { return !a; }
  static __device__ __forceinline__ uint32_t MultiplyHigh(uint32_t a, uint32_t b) { return __umulhi(a, b); }
  static __device__ __forceinline__ void Sync() { __syncwarp(); }
  // What a function that is not inlined cannot see of its pointers.
  template <class T>
  static __device__ __forceinline__ T* Shared(T* at) {
    __builtin_assume(__isShared(at));
    return at;
  }
  template <class T>
  static __device__ __forceinline__ T* Global(T* at) {
    __builtin_assume(__isGlobal(at));
    return at;
  }
  // Rounded to nearest even, subnormal numbers included.
  static __device__ __forceinline__ float SquareRoot(float x) { return __fsqrt_rn(x); }
  static __device__ __forceinline__ float DivideRounded(float a, float b) { return __fdiv_rn(a, b); }
  static __device__ __forceinline__ float FloatOfBits(uint32_t x) { return __uint_as_float(x); }
  static __device__ __forceinline__ float LowHalf(uint32_t x) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(x)));
  }
  static __device__ __forceinline__ float HighHalf(uint32_t x) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(x >> 16)));
  }
  // max(magnitude, |x|), a NaN if one of the two is.
  static __device__ __forceinline__ float LargerMagnitude(float magnitude, float x) {
    float result;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(magnitude), "f"(fabsf(x)));
    return result;
  }
  // Likewise in each half.
  template <ElementType kType>
  static __device__ __forceinline__ uint32_t LargerMagnitudes(uint32_t magnitudes, uint32_t x) {
    uint32_t result;
    if constexpr (kType == ElementType::kF16) {
      asm("{.reg .b32 t; abs.f16x2 t, %2; max.NaN.f16x2 %0, %1, t;}" : "=r"(result) : "r"(magnitudes), "r"(x));
    } else {
      asm("{.reg .b32 t; abs.bf16x2 t, %2; max.NaN.bf16x2 %0, %1, t;}" : "=r"(result) : "r"(magnitudes), "r"(x));
    }
    return result;
  }
  // Of each signed half x max(0, min(8191, x + 4096)), x being below 2^15 - 4096.
  static __device__ __forceinline__ uint32_t ClampToSteps(uint32_t x) {
    return __viaddmin_s16x2_relu(x, 0x10001000u, 0x1FFF1FFFu);
  }
  // c + two signed halves of `a` times bytes 0 and 1 (low) or 2 and 3 (high) of `bytes`.
  static __device__ __forceinline__ int32_t DotLow(uint32_t a, uint32_t bytes, int32_t c) {
    return __dp2a_lo(static_cast<int>(a), static_cast<int>(bytes), c);
  }
  static __device__ __forceinline__ int32_t DotHigh(uint32_t a, uint32_t bytes, int32_t c) {
    return __dp2a_hi(static_cast<int>(a), static_cast<int>(bytes), c);
  }
  // c + the products of four signed bytes.
  static __device__ __forceinline__ int32_t DotFour(uint32_t a, uint32_t b, int32_t c) {
    return __dp4a(static_cast<int>(a), static_cast<int>(b), c);
  }
  static __device__ __forceinline__ int32_t LoadInt(const int32_t* from, uint32_t index) { return from[index]; }
  static __device__ __forceinline__ int32_t LoadIntIf(bool condition, const int32_t* from, int64_t index) {
    return condition ? from[index] : 0;
  }
  static __device__ __forceinline__ void StoreInt(int32_t* to, uint32_t index, int32_t x) { to[index] = x; }
  static __device__ __forceinline__ void StoreByte(uint8_t* to, uint32_t index, uint32_t x) {
    to[index] = static_cast<uint8_t>(x);
  }
  static __device__ __forceinline__ uint32_t LoadShort(const uint8_t* from, uint32_t byte_offset) {
    return *reinterpret_cast<const uint16_t*>(from + byte_offset);
  }
  static __device__ __forceinline__ int32_t LoadSignedShort(const uint8_t* from, uint32_t byte_offset) {
    return *reinterpret_cast<const int16_t*>(from + byte_offset);
  }
  static __device__ __forceinline__ uint32_t LoadByte(const uint8_t* from, uint32_t index) { return from[index]; }
  static __device__ __forceinline__ uint32_t CountBits(uint32_t x) { return static_cast<uint32_t>(__popc(x)); }
  static __device__ __forceinline__ void StoreShortIf(bool condition, uint8_t* to, uint32_t byte_offset, uint32_t x) {
    if (condition) *reinterpret_cast<uint16_t*>(to + byte_offset) = static_cast<uint16_t>(x);
  }
  // Two numbers of 16 bits, rounded to nearest even; finite where they are in the type's range.
  template <ElementType kType>
  static __device__ __forceinline__ uint32_t PackElements(float low, float high) {
    if constexpr (kType == ElementType::kF16) {
      const __half2 pair = __floats2half2_rn(low, high);
      return *reinterpret_cast<const uint32_t*>(&pair);
    } else {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
      return *reinterpret_cast<const uint32_t*>(&pair);
    }
  }
  static __device__ __forceinline__ void StoreWordIf(bool condition, uint8_t* to, uint32_t byte_offset, uint32_t x) {
    if (condition) *reinterpret_cast<uint32_t*>(to + byte_offset) = x;
  }
  static __device__ __forceinline__ void StoreVectorIf(bool condition, uint8_t* to, uint32_t byte_offset,
                                                       const Words4<DeviceWarp>& x) {
    if (condition) *reinterpret_cast<uint4*>(to + byte_offset) = make_uint4(x.w[0], x.w[1], x.w[2], x.w[3]);
  }
  // 16 bytes at a multiple of 16.
  static __device__ __forceinline__ void LoadWords(bool condition, const void* from, int64_t byte_offset,
                                                   uint32_t (&words)[4]) {
    uint4 loaded = make_uint4(0, 0, 0, 0);
    if (condition) loaded = *reinterpret_cast<const uint4*>(static_cast<const uint8_t*>(from) + byte_offset);
    words[0] = loaded.x;
    words[1] = loaded.y;
    words[2] = loaded.z;
    words[3] = loaded.w;
  }
  static __device__ __forceinline__ void StoreWords(bool condition, void* to, int64_t byte_offset,
                                                    const uint32_t (&words)[4]) {
    if (!condition) return;
    *reinterpret_cast<uint4*>(static_cast<uint8_t*>(to) + byte_offset) =
        make_uint4(words[0], words[1], words[2], words[3]);
  }
  // At an even index.
  static __device__ __forceinline__ void StorePairIf(bool condition, float* to, int64_t index, float first, float second) {
    if (condition) *reinterpret_cast<float2*>(to + index) = make_float2(first, second);
  }
  // By one lane; `x` is the same in all.
  template <class T>
  static __device__ __forceinline__ void StoreOnce(T* to, T x) {
    if (Lane() == 0) *to = x;
  }

  // `byte_offset` is a multiple of the loaded size.
  static __device__ __forceinline__ Words4<DeviceWarp> LoadVector(const uint8_t* from, uint32_t byte_offset) {
    const uint4 words = *reinterpret_cast<const uint4*>(from + byte_offset);
    return {{words.x, words.y, words.z, words.w}};
  }
  static __device__ __forceinline__ uint32_t LoadWord(const uint8_t* from, uint32_t byte_offset) {
    return *reinterpret_cast<const uint32_t*>(from + byte_offset);
  }
  static __device__ __forceinline__ float LoadHalf(const uint8_t* from, uint32_t index) {
    return __half2float(reinterpret_cast<const __half*>(from)[index]);
  }
  // Of the row of each lane's token, zeros where that is null.
  static __device__ __forceinline__ Words4<DeviceWarp> LoadRowVector(const uint8_t* const* rows, uint32_t token,
                                                                     uint32_t byte_offset) {
    const uint8_t* const row = rows[token];
    if (row == nullptr) return {{0, 0, 0, 0}};
    return LoadVector(row, byte_offset);
  }
  static __device__ __forceinline__ double Widen(float x) { return x; }
  static __device__ __forceinline__ float Narrow(double x) { return __double2float_rn(x); }
  static __device__ __forceinline__ void StoreDouble(double* to, uint32_t index, double x) { to[index] = x; }
  static __device__ __forceinline__ uint32_t ShiftRight(uint32_t x, uint32_t bits) { return x >> bits; }
  static __device__ __forceinline__ uint32_t ShiftLeft(uint32_t x, uint32_t bits) { return x << bits; }
  static __device__ __forceinline__ uint32_t PopulationCount(uint64_t mask) {
    return static_cast<uint32_t>(__popcll(mask));
  }
  static __device__ __forceinline__ float LoadFloat(const float* from, uint32_t index) { return from[index]; }
  static __device__ __forceinline__ void StoreFloat(float* to, uint32_t index, float x) { to[index] = x; }
  static __device__ __forceinline__ void StoreFloatIf(bool condition, float* to, uint32_t index, float x) {
    if (condition) to[index] = x;
  }
  static __device__ __forceinline__ void StoreWord(int8_t* to, uint32_t byte_offset, uint32_t x) {
    *reinterpret_cast<uint32_t*>(to + byte_offset) = x;
  }
  template <ElementType kType>
  static __device__ __forceinline__ float LoadElement(bool condition, const void* from, int64_t index) {
    if (!condition) return 0.0f;
    if constexpr (kType == ElementType::kF16) return __half2float(static_cast<const __half*>(from)[index]);
    if constexpr (kType == ElementType::kBF16) {
      return __bfloat162float(static_cast<const __nv_bfloat16*>(from)[index]);
    }
    return static_cast<const float*>(from)[index];
  }
  template <ElementType kType>
  static __device__ __forceinline__ void StoreElement(bool condition, void* to, int64_t index, float x) {
    if (!condition) return;
    if constexpr (kType == ElementType::kF16) {
      static_cast<__half*>(to)[index] = __float2half_rn(x);
    } else if constexpr (kType == ElementType::kBF16) {
      static_cast<__nv_bfloat16*>(to)[index] = __float2bfloat16_rn(x);
    } else {
      static_cast<float*>(to)[index] = x;
    }
  }
};

}  // namespace polarkv::cuda

#endif  // POLARKV_KERNELS_CUDA_DEVICE_WARP_CUH_
