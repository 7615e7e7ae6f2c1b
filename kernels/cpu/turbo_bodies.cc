#include "kernels/cpu/turbo_bodies.h"

#include "kernels/cpu/amx_attention.h"
#include "kernels/cpu/portable/bodies.h"

namespace polarkv::cpu {

TurboAttendBody* TurboAttendBodyFor(InstructionSet set, [[maybe_unused]] uint32_t head_dim, [[maybe_unused]] uint32_t rows) {
  switch (set) {
#if defined(__x86_64__)
    case InstructionSet::kAmx:
#if defined(POLARKV_HAS_AMX_BODY)
      if (rows > kMostRowsWithoutAmx && head_dim % kAmxHeadDimUnit == 0) return TurboAttendAmx;
#endif
      return TurboAttendAvx512;
    case InstructionSet::kAvx512:
      return TurboAttendAvx512;
    case InstructionSet::kAvx2:
      return avx2::TurboAttend;
#endif
#if defined(__x86_64__) || defined(__aarch64__) || defined(__wasm_simd128__)
    case InstructionSet::kVector128:
      return vector128::TurboAttend;
#endif
    default:
      return nullptr;
  }
}

TurboDecodeBody* TurboDecodeBodyFor(InstructionSet set, [[maybe_unused]] uint32_t head_dim) {
  switch (set) {
#if defined(__x86_64__)
    case InstructionSet::kAmx:
    case InstructionSet::kAvx512:
      // Machines that have these instructions have AVX2, too.
      return head_dim % 64 == 0 ? TurboDecodeAvx512 : avx2::TurboDecode;
    case InstructionSet::kAvx2:
      return avx2::TurboDecode;
#endif
#if defined(__x86_64__) || defined(__aarch64__) || defined(__wasm_simd128__)
    case InstructionSet::kVector128:
      return vector128::TurboDecode;
#endif
    default:
      return nullptr;
  }
}

}  // namespace polarkv::cpu
