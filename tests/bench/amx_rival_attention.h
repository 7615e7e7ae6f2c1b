// Attention on bf16 keys and values with AMX (TDPBF16PS), the rival of compressed blocks where queries come in groups: the
// best that we could write, with layouts that need no shuffle and the prefetching that blocks get.
#ifndef POLARKV_TESTS_BENCH_AMX_RIVAL_ATTENTION_H_
#define POLARKV_TESTS_BENCH_AMX_RIVAL_ATTENTION_H_

#include <cstddef>
#include <cstdint>

namespace polarkv::bench {

// Where a key's or value's coordinate is: tiles of 64 tokens, in which each KiB is an operand of one product.
//   keys:   [64 tokens][4 runs of 32 dims][4 runs of 16 tokens][16 pairs of dims][16 tokens][2]
//   values: [64 tokens][8 runs of 16 dims][2 runs of 32 tokens][16 pairs of tokens][16 dims][2]
constexpr size_t AmxKeyPlace(uint32_t token, uint32_t dim) {
  const uint32_t product = dim / 32 * 4 + token % 64 / 16;
  return size_t{token / 64} * 64 * 128 + 512 * product + 32 * (dim % 32 / 2) + 2 * (token % 16) + dim % 2;
}
constexpr size_t AmxValuePlace(uint32_t token, uint32_t dim) {
  const uint32_t product = dim / 16 * 2 + token % 64 / 32;
  return size_t{token / 64} * 64 * 128 + 512 * product + 32 * (token % 32 / 2) + 2 * (dim % 16) + token % 2;
}

inline constexpr uint32_t kAmxRivalRows = 16;  // at most

// head_dim 128, tokens a multiple of 64; q: [rows][128] bf16, scaled to log2 logits; o: [rows][128]; lse: [rows], log2.
// Needs HasAmxBf16().
void AttendAmxBf16(const uint16_t* k, const uint16_t* v, uint32_t tokens, const uint16_t* q, uint32_t rows, float* o, float* lse);
// The same on emulated tile registers. Needs AVX-512 with BF16.
void AttendEmulatedAmxBf16(const uint16_t* k, const uint16_t* v, uint32_t tokens, const uint16_t* q, uint32_t rows, float* o,
                           float* lse);

// AMX with bf16 products, which the process may use, and AVX-512 with BF16.
bool HasAmxBf16();

}  // namespace polarkv::bench

#endif  // POLARKV_TESTS_BENCH_AMX_RIVAL_ATTENTION_H_
