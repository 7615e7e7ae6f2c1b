// Hardware fused multiply-add where the machine has it, on builds for baseline x86-64.
//
// A function body written as [[gnu::always_inline]] is instantiated twice, plainly and inside a POLARKV_FMA_TARGET
// function; the caller picks with HasHardwareFma(). Both give the same bits: std::fma rounds once in either, and
// nothing else may be fused (-ffp-contract=off). Tests build the codec a second time with POLARKV_PORTABLE_CODEC, which
// leaves the plain bodies alone.
#ifndef POLARKV_CODEC_FMA_TARGET_H_
#define POLARKV_CODEC_FMA_TARGET_H_

#if defined(__x86_64__) && !defined(POLARKV_PORTABLE_CODEC)
#define POLARKV_FMA_TARGET __attribute__((target("avx2,fma")))
#else
#define POLARKV_FMA_TARGET
#endif

namespace polarkv {

inline bool HasHardwareFma() {
#if defined(__x86_64__) && !defined(POLARKV_PORTABLE_CODEC)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

}  // namespace polarkv

#endif  // POLARKV_CODEC_FMA_TARGET_H_
