#include "client/cli/query_tensor.h"

#include <limits>

#include "client/cli/cli_status.h"
#include "client/cli/kv_tensors.h"
#include "client/cli/safetensors.h"
#include "codec/half_float.h"

namespace polarkv::cli {
namespace {

constexpr char kQueryDimensions[] = "[layers, q_heads, queries, head_dim]";

absl::Status CheckAgainst(const BlockSpec& blocks, const TensorView& q) {
  const auto& [layers, heads, queries, head_dim] = q.shape;
  const auto differs = [](const char* what, int64_t here, int64_t there) {
    return absl::InvalidArgumentError("q has " + std::to_string(here) + " " + what + ", but the blocks have " +
                                      std::to_string(there) + "; q is " + kQueryDimensions);
  };
  if (layers != blocks.layers) return differs("layers", layers, blocks.layers);
  if (head_dim != blocks.head_dim) return differs("coordinates in a head", head_dim, blocks.head_dim);
  if (heads % blocks.kv_heads != 0) {
    return absl::InvalidArgumentError("q has " + std::to_string(heads) +
                                      " heads, which is not a multiple of the blocks' " +
                                      std::to_string(blocks.kv_heads) + " KV heads; q is " + kQueryDimensions);
  }
  if (heads > std::numeric_limits<int32_t>::max() || queries > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError("q has too many heads or queries; split it");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<QueryTensor> QueryTensor::Load(const std::string& path, const BlockSpec& blocks) {
  absl::StatusOr<InputFile> file = InputFile::Open(path);
  if (!file.ok()) return file.status();
  QueryTensor query(*std::move(file));
  const absl::StatusOr<SafetensorsContent> content = ParseSafetensors(query.file_.bytes());
  if (!content.ok()) return Annotate(content.status(), path);
  const SafetensorsEntry* entry = content->Find("q");
  if (entry == nullptr) {
    return absl::InvalidArgumentError(path + ": no tensor 'q'; attend needs `q`, " + kQueryDimensions);
  }
  const absl::StatusOr<TensorView> q = ViewTensor(*entry, kQueryDimensions, &query.copy_);
  if (!q.ok()) return Annotate(q.status(), path);
  query.q_ = *q;
  if (absl::Status s = CheckAgainst(blocks, query.q_); !s.ok()) return Annotate(s, path);
  return query;
}

std::vector<float> QueryTensor::Layer(uint32_t layer) const {
  const size_t count = static_cast<size_t>(q_.stride[0]);
  const size_t first = layer * count;
  if (q_.dtype == Dtype::kF32) {
    const float* values = static_cast<const float*>(q_.data) + first;
    return {values, values + count};
  }
  const uint16_t* halves = static_cast<const uint16_t*>(q_.data) + first;
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = q_.dtype == Dtype::kF16 ? HalfToFloat(halves[i]) : BFloat16ToFloat(halves[i]);
  }
  return values;
}

}  // namespace polarkv::cli
