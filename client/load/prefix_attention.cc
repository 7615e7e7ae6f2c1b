#include "client/load/prefix_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "client/load/mixing.h"
#include "codec/attention_state.h"
#include "kernels/kv_kernels.h"

namespace polarkv::load {
namespace {

// Relative error of one row; NaN stays NaN.
double RowError(const float* got, const double* want, uint32_t head_dim) {
  double error = 0, norm = 0;
  for (uint32_t i = 0; i < head_dim; ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(error / norm);
}

}  // namespace

PrefixAttention::PrefixAttention(const BlockContent& content, uint32_t q_heads, DeviceKernels* kernels)
    : content_(content),
      kernels_(kernels),
      shape_{content.descriptor().layers, content.descriptor().kv_heads, q_heads, content.descriptor().head_dim},
      query_(shape_.query_values()),
      output_(shape_.query_values()),
      lse_(shape_.rows()),
      window_out_(uint64_t{q_heads} * shape_.head_dim),
      window_lse_(q_heads) {}

void PrefixAttention::Start(std::span<const BlockKey> prefix, uint64_t draw, bool check) {
  const uint32_t block_tokens = content_.descriptor().block_tokens;
  const uint32_t group = shape_.q_heads / shape_.kv_heads;
  for (uint64_t row = 0; row < shape_.rows(); ++row) {
    const uint32_t layer = static_cast<uint32_t>(row / shape_.q_heads);
    const uint32_t kv_head = static_cast<uint32_t>(row % shape_.q_heads) / group;
    const uint64_t token = StreamWord(draw, row) % (prefix.size() * block_tokens);
    content_.FillKeyVector(prefix[token / block_tokens], layer, kv_head, static_cast<uint32_t>(token % block_tokens),
                           std::span(query_).subspan(row * shape_.head_dim, shape_.head_dim));
  }
  std::ranges::fill(output_, 0.0f);
  std::ranges::fill(lse_, -std::numeric_limits<float>::infinity());
  exact_decoded_.reset();
  exact_original_.reset();
  if (!check) return;
  exact_decoded_ = std::make_unique<ExactAttention>(shape_, query_);
  exact_original_ = std::make_unique<ExactAttention>(shape_, query_);
}

// To window_out_ and window_lse_; a GPU gets the next layer meanwhile.
absl::Status PrefixAttention::AttendLayer(std::span<const BlockView> blocks, uint32_t layer) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
  const uint64_t values = window_out_.size();
  const std::span<const float> query = std::span(query_).subspan(layer * values, values);
  if (kernels_ == nullptr) {
    return polarkv::Attend(blocks, layer, shape_.q_heads, 1, query, scale, window_out_, window_lse_);
  }
  const DeviceKernels::NextLayer next{blocks, layer + 1};
  return kernels_->Attend(blocks, layer, shape_.q_heads, 1, query, scale, window_out_, window_lse_,
                          layer + 1 < shape_.layers ? &next : nullptr);
}

absl::Status PrefixAttention::Attend(std::span<const BlockView> blocks) {
  for (uint32_t layer = 0; layer < shape_.layers; ++layer) {
    if (absl::Status status = AttendLayer(blocks, layer); !status.ok()) return status;
    for (uint32_t head = 0; head < shape_.q_heads; ++head) {
      const uint64_t row = uint64_t{layer} * shape_.q_heads + head;
      MergeAttention(&output_[row * shape_.head_dim], &lse_[row], &window_out_[uint64_t{head} * shape_.head_dim],
                     window_lse_[head], shape_.head_dim);
    }
  }
  return absl::OkStatus();
}

absl::Status PrefixAttention::AddToCheck(std::span<const BlockView> blocks, std::span<const BlockKey> keys) {
  k_.resize(content_.tensor_values());
  v_.resize(content_.tensor_values());
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (absl::Status status = DecodeBlock(blocks[i], k_, v_); !status.ok()) return status;
    exact_decoded_->Add(k_, v_, content_.descriptor().block_tokens);
    content_.FillTensors(keys[i], k_, v_);
    exact_original_->Add(k_, v_, content_.descriptor().block_tokens);
  }
  return absl::OkStatus();
}

absl::StatusOr<AttentionCheck> PrefixAttention::Finish() const {
  const std::vector<double> decoded = exact_decoded_->Output(), original = exact_original_->Output();
  const std::vector<double> lse = exact_decoded_->LogSumExp();
  AttentionCheck check;
  for (uint64_t row = 0; row < shape_.rows(); ++row) {
    const uint64_t start = row * shape_.head_dim;
    const double error =
        std::max(RowError(&output_[start], &decoded[start], shape_.head_dim), std::abs(lse_[row] - lse[row]));
    // Written so that NaN fails.
    if (!(error <= kAttentionTolerance)) {
      return absl::DataLossError(absl::StrCat("attention of layer ", row / shape_.q_heads, ", query head ",
                                              row % shape_.q_heads, " is off by ", error, ", allowed ",
                                              kAttentionTolerance));
    }
    check.kernel_error = std::max(check.kernel_error, error);
    check.compression_error +=
        RowError(&output_[start], &original[start], shape_.head_dim) / static_cast<double>(shape_.rows());
  }
  return check;
}

}  // namespace polarkv::load
