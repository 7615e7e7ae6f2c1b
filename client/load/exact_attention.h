// Attention in double precision over decoded tensors, one run of tokens after the other: what the kernels are held
// against.
#ifndef POLARKV_CLIENT_LOAD_EXACT_ATTENTION_H_
#define POLARKV_CLIENT_LOAD_EXACT_ATTENTION_H_

#include <cstdint>
#include <span>
#include <vector>

namespace polarkv::load {

struct AttentionShape {
  uint32_t layers = 0;
  uint32_t kv_heads = 0;
  uint32_t q_heads = 0;  // a multiple of kv_heads
  uint32_t head_dim = 0;
  uint64_t rows() const { return uint64_t{layers} * q_heads; }
  uint64_t query_values() const { return rows() * head_dim; }
};

// One query per (layer, query head). Online softmax (Milakov, Gimelshein 2018), all in double. Not thread-safe.
class ExactAttention {
 public:
  // q: [layers, q_heads, head_dim], must outlive this.
  ExactAttention(const AttentionShape& shape, std::span<const float> q);
  // k, v: [layers, kv_heads, tokens, head_dim].
  void Add(std::span<const float> k, std::span<const float> v, uint32_t tokens);
  // [layers, q_heads, head_dim]; zero before the first token.
  std::vector<double> Output() const;
  // [layers, q_heads]; -inf before the first token.
  std::vector<double> LogSumExp() const;

 private:
  void AddRow(uint64_t row, const float* q, const float* k, const float* v, uint32_t tokens);

  AttentionShape shape_;
  std::span<const float> q_;
  std::vector<double> sum_;           // [layers, q_heads, head_dim], relative to top_
  std::vector<double> top_, weight_;  // [layers, q_heads]
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_EXACT_ATTENTION_H_
