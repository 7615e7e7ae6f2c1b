// The 16-bit attention that compressed blocks are compared with: the best that we could write for AVX-512, given the same
// prefetching. One KV head, tokens in order, scores, online softmax and values in one pass.
#ifndef POLARKV_TESTS_BENCH_RIVAL_ATTENTION_H_
#define POLARKV_TESTS_BENCH_RIVAL_ATTENTION_H_

#include <cstdint>

namespace polarkv::bench {

inline constexpr uint32_t kRivalDim = 128;

// k, v: [tokens][128] fp16, tokens a multiple of 64; q: [rows][128], scaled to log2 logits; o: [rows][128]; lse: [rows], log2.
void AttendFp16(const uint16_t* k, const uint16_t* v, uint32_t tokens, const float* q, uint32_t rows, float* o, float* lse);

// bf16 with VDPBF16PS, laid out for it. k: [tokens / 64][64][64 tokens][2], two coordinates side by side; v: [tokens / 2][128][2],
// two tokens side by side; q: [rows][128] bf16.
void AttendBf16(const uint16_t* k, const uint16_t* v, uint32_t tokens, const uint16_t* q, uint32_t rows, float* o, float* lse);
bool HasBf16();

}  // namespace polarkv::bench

#endif  // POLARKV_TESTS_BENCH_RIVAL_ATTENTION_H_
