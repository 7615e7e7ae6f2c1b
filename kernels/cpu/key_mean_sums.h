// The sums of KeyMeanLogits with AVX-512. Plain structs and pointers only, as in turbo_attention.h.
#ifndef POLARKV_KERNELS_CPU_KEY_MEAN_SUMS_H_
#define POLARKV_KERNELS_CPU_KEY_MEAN_SUMS_H_

#include <cstdint>

namespace polarkv::cpu {

struct KeyMeanSums {
  uint32_t pairs = 0;              // at most 128
  const float* cosine = nullptr;   // [pair][32], of b + .5 positions
  const float* sine = nullptr;
  const float* cosine_now = nullptr;  // [pair], of the tile's middle
  const float* sine_now = nullptr;
  const float* a = nullptr;  // [rows][pair]
  const float* b = nullptr;
  const float* unturned = nullptr;  // [rows]
};

// Adds unit * (unturned + the sum over the pairs) to the logits [rows][64], in the order of kScoreOrder, of `tokens`. Needs
// InstructionSet::kAvx512.
void AddKeyMeansAvx512(const KeyMeanSums& in, uint32_t rows, uint64_t tokens, float unit, float* logits);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_KEY_MEAN_SUMS_H_
