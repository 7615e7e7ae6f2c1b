// The 16-bit attention that compressed blocks are compared with on machines that have AVX2 and no more: the best that we could
// write, given the same prefetching. One KV head, tokens in order, scores, online softmax and values in one pass.
#ifndef POLARKV_TESTS_BENCH_RIVAL_ATTENTION_AVX2_H_
#define POLARKV_TESTS_BENCH_RIVAL_ATTENTION_AVX2_H_

#include <cstdint>

namespace polarkv::bench {

// k, v: [tokens][128] fp16 or bf16, tokens a multiple of 64, readable four tiles of 64 beyond the end; q: [rows][128], scaled
// to log2 logits; o: [rows][128]; lse: [rows], log2. Rows are at most 64.
void AttendFp16Avx2(const uint16_t* k, const uint16_t* v, uint32_t tokens, const float* q, uint32_t rows, float* o, float* lse);
void AttendBf16Avx2(const uint16_t* k, const uint16_t* v, uint32_t tokens, const float* q, uint32_t rows, float* o, float* lse);

}  // namespace polarkv::bench

#endif  // POLARKV_TESTS_BENCH_RIVAL_ATTENTION_AVX2_H_
