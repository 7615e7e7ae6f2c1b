// The queries of `polarkv attend`.
#ifndef POLARKV_CLIENT_CLI_QUERY_TENSOR_H_
#define POLARKV_CLIENT_CLI_QUERY_TENSOR_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/aligned_buffer.h"
#include "client/cli/input_file.h"
#include "codec/block_spec.h"
#include "codec/tensor_view.h"

namespace polarkv::cli {

// Move-only.
class QueryTensor {
 public:
  // Tensor `q` [layers, q_heads, queries, head_dim], checked against the blocks that it is to attend on.
  static absl::StatusOr<QueryTensor> Load(const std::string& path, const BlockSpec& blocks);

  uint32_t layers() const { return static_cast<uint32_t>(q_.shape[0]); }
  uint32_t heads() const { return static_cast<uint32_t>(q_.shape[1]); }
  uint32_t queries() const { return static_cast<uint32_t>(q_.shape[2]); }
  uint32_t head_dim() const { return static_cast<uint32_t>(q_.shape[3]); }
  // [q_heads, queries, head_dim] of one layer.
  std::vector<float> Layer(uint32_t layer) const;

 private:
  explicit QueryTensor(InputFile file) : file_(std::move(file)) {}
  InputFile file_;
  AlignedBuffer copy_;
  TensorView q_;
};

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_QUERY_TENSOR_H_
