// One input of the measurement: keys, values and queries of one attention layer.
#ifndef POLARKV_TESTS_QUALITY_KV_CASE_H_
#define POLARKV_TESTS_QUALITY_KV_CASE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "codec/block_spec.h"

namespace polarkv::quality {

struct KvCase {
  std::string name;   // unique in a run: "bias120.4pairs.4096"
  std::string group;  // "gaussian", "bias", ...: what tables and plots average over
  double bias = 0;    // norm of the key bias before RoPE, for the curves over it

  uint32_t kv_heads = 1, q_heads = 1;
  uint32_t tokens = 0, queries = 0;  // queries of each query head
  uint32_t head_dim = 0;
  // The first so many queries of each head are N(0, I), drawn without regard to the keys; the others lean to one key
  // each, or come from a model.
  uint32_t independent_queries = 0;
  Rope rope;
  uint64_t first_position = 0;
  std::vector<float> k{}, v{};  // [kv_heads, tokens, head_dim], keys after RoPE
  std::vector<float> q{};       // [q_heads, queries, head_dim], after RoPE

  uint32_t group_size() const { return q_heads / kv_heads; }
  uint64_t rows() const { return uint64_t{q_heads} * queries; }
  uint64_t coordinates() const { return uint64_t{kv_heads} * tokens * head_dim; }  // of K, and of V
};

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_KV_CASE_H_
