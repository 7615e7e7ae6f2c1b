#include "kernels/cpu/turbo_bodies.h"

#include "kernels/cpu/amx_attention.h"
#include "kernels/cpu/portable/bodies.h"
#include "kernels/cpu/trellis_encode.h"

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

TurboEncodeBody* TurboEncodeBodyFor(InstructionSet set, bool trellis, [[maybe_unused]] uint32_t bits,
                                    [[maybe_unused]] uint32_t head_dim) {
  switch (set) {
#if defined(__x86_64__)
    case InstructionSet::kAmx:
    case InstructionSet::kAvx512:
      if (head_dim % 64 == 0 && trellis) return TrellisEncodeAvx512;
      if (head_dim % 64 == 0 && bits >= 2 && bits <= 4) return TurboEncodeAvx512;
      return trellis ? avx2::TrellisEncode : avx2::TurboEncode;
    case InstructionSet::kAvx2:
      return trellis ? avx2::TrellisEncode : avx2::TurboEncode;
#endif
#if defined(__x86_64__) || defined(__aarch64__) || defined(__wasm_simd128__)
    case InstructionSet::kVector128:
      return trellis ? vector128::TrellisEncode : vector128::TurboEncode;
#endif
    default:
      return nullptr;
  }
}

ScaleStepsBody* ScaleStepsBodyFor(InstructionSet set) {
  switch (set) {
#if defined(__x86_64__)
    case InstructionSet::kAmx:
    case InstructionSet::kAvx512:
      return ScaleStepsAvx512;
    case InstructionSet::kAvx2:
      return avx2::ScaleSteps;
#endif
#if defined(__x86_64__) || defined(__aarch64__) || defined(__wasm_simd128__)
    case InstructionSet::kVector128:
      return vector128::ScaleSteps;
#endif
    default:
      return nullptr;
  }
}

KeyMeanBodies KeyMeanBodiesFor(InstructionSet set, [[maybe_unused]] uint32_t head_dim, uint32_t distance,
                               [[maybe_unused]] uint32_t turned) {
  const KeyPairs pairs = {distance, false};
  if (distance % 8 != 0) return {nullptr, nullptr, nullptr, pairs};
  switch (set) {
#if defined(__x86_64__)
    case InstructionSet::kAmx:
    case InstructionSet::kAvx512:
      if (head_dim % 64 == 0 && distance % 32 == 0 && turned % 16 == 0) {
        return {DirectionsAvx512, SumKeysAvx512, TakeMeanOffAvx512, {distance, true}};
      }
      return {avx2::KeyDirections, avx2::SumKeys, avx2::TakeMeanOff, pairs};
    case InstructionSet::kAvx2:
      return {avx2::KeyDirections, avx2::SumKeys, avx2::TakeMeanOff, pairs};
#endif
#if defined(__x86_64__) || defined(__aarch64__) || defined(__wasm_simd128__)
    case InstructionSet::kVector128:
      return {vector128::KeyDirections, vector128::SumKeys, vector128::TakeMeanOff, pairs};
#endif
    default:
      return {nullptr, nullptr, nullptr, pairs};
  }
}

}  // namespace polarkv::cpu
