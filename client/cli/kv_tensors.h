// The keys and values of a safetensors file, checked and ready to encode.
#ifndef POLARKV_CLIENT_CLI_KV_TENSORS_H_
#define POLARKV_CLIENT_CLI_KV_TENSORS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/aligned_buffer.h"
#include "client/cli/input_file.h"
#include "client/cli/safetensors.h"
#include "codec/block_spec.h"
#include "codec/tensor_view.h"

namespace polarkv::cli {

// What the command line says in place of the file's metadata.
struct KvMetadata {
  std::optional<std::string> rope{};  // half, interleaved, none
  std::optional<std::string> rope_base{};
  std::optional<std::string> rope_dims{};
  std::optional<std::string> first_position{};
};

// Rope and first position by the rules of `polarkv encode --help`. INVALID_ARGUMENT names the entry, its value and what
// it may be. `head_dim` is the default of rope_dims.
struct KvPlacement {
  Rope rope;
  uint64_t first_position = 0;
  bool rope_stated = false;
};
absl::StatusOr<KvPlacement> ParsePlacement(const KvMetadata& metadata, uint32_t head_dim);

// Move-only; the views point into the file.
class KvTensors {
 public:
  // Tensors `k` and `v`, [layers, kv_heads, tokens, head_dim], of one shape and one dtype.
  static absl::StatusOr<KvTensors> Load(const std::string& path, const KvMetadata& overrides);

  const TensorView& k() const { return k_; }
  const TensorView& v() const { return v_; }
  const KvPlacement& placement() const { return placement_; }
  const std::string& model() const { return model_; }
  const std::vector<std::string>& ignored() const { return ignored_; }  // names of further tensors
  uint64_t tokens() const { return static_cast<uint64_t>(k_.shape[2]); }

 private:
  explicit KvTensors(InputFile file) : file_(std::move(file)) {}
  absl::Status Read(const SafetensorsContent& content, const KvMetadata& overrides);

  InputFile file_;
  AlignedBuffer k_copy_, v_copy_;  // for a file whose data is not aligned for its dtype
  TensorView k_, v_;
  KvPlacement placement_;
  std::string model_;
  std::vector<std::string> ignored_;
};

// A four-dimensional tensor of a file as a view, copied into `copy` when its bytes are not aligned for its dtype.
// INVALID_ARGUMENT: another number of dimensions, a dtype that is not F16, BF16 or F32, or no element.
absl::StatusOr<TensorView> ViewTensor(const SafetensorsEntry& entry, const char* dimensions, AlignedBuffer* copy);

}  // namespace polarkv::cli

#endif  // POLARKV_CLIENT_CLI_KV_TENSORS_H_
