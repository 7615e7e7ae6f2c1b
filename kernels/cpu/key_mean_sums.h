// The sums of KeyMeanLogits with AVX-512. Plain structs and pointers only, as in turbo_attention.h.
#ifndef POLARKV_KERNELS_CPU_KEY_MEAN_SUMS_H_
#define POLARKV_KERNELS_CPU_KEY_MEAN_SUMS_H_

#include <cstdint>

namespace polarkv::cpu {

inline constexpr uint32_t kKeyMeanPairs = 16;  // numbers of pairs are multiples of it
inline constexpr uint32_t kSlowTerms = 4;      // slow_turn.h

struct KeyMeanSums {
  uint32_t pairs = 0;              // at most 128
  uint32_t fast = 0;               // of them come first; the others are slow
  uint32_t rows = 0;
  const float* cosine = nullptr;   // [fast pair, then slow term][32], of b + .5 positions
  const float* sine = nullptr;
  const float* slow_cosine = nullptr;  // [slow term][pair]: coefficients, 0 of fast pairs
  const float* slow_sine = nullptr;
  const float* cosine_now = nullptr;  // [tile][pair], of the tiles' middles
  const float* sine_now = nullptr;
  const float* a = nullptr;  // [rows][pair]
  const float* b = nullptr;
  const float* unturned = nullptr;  // [rows]
};

// Adds unit * (unturned + the sum over the pairs) to the logits [tile][row][64], in the order of kScoreOrder, of `tokens`
// [tile]. Needs InstructionSet::kAvx512.
void AddKeyMeansAvx512(const KeyMeanSums& in, const uint64_t* tokens, uint32_t tiles, float unit, float* logits);

}  // namespace polarkv::cpu

#endif  // POLARKV_KERNELS_CPU_KEY_MEAN_SUMS_H_
