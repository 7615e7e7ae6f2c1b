// Tensors of a trained model, from a safetensors file.
#ifndef POLARKV_TESTS_QUALITY_DUMP_CASE_H_
#define POLARKV_TESTS_QUALITY_DUMP_CASE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/quality/kv_case.h"

namespace polarkv::quality {

// One case for each layer of a file with tensors k and v, [layers, kv_heads, tokens, head_dim], after RoPE, F16, BF16
// or F32, and the metadata that `polarkv encode` reads. Queries are tensor q, [layers, q_heads, queries, head_dim];
// without it 64 for each KV head are drawn from N(0, I). Errors name the path.
absl::StatusOr<std::vector<KvCase>> LoadDumpCases(const std::string& path);

}  // namespace polarkv::quality

#endif  // POLARKV_TESTS_QUALITY_DUMP_CASE_H_
