// Runs attention on a fetched prefix as fetched, and checks some of the results.
#ifndef POLARKV_CLIENT_LOAD_PREFIX_ATTENTION_H_
#define POLARKV_CLIENT_LOAD_PREFIX_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/load/block_content.h"
#include "client/load/exact_attention.h"
#include "codec/block_view.h"
#include "kernels/device_kernels.h"

namespace polarkv::load {

// Largest relative error (Euclidean norm, per layer and query head), and difference of log-sum-exp, between the kernels
// and attention in double precision on the decoded tensors. The fast kernels round queries to int8: at the sizes of
// queries and keys used here a logit is off by 0.011 in standard deviation, so 0.1 is nine of them. Each row's query is
// aimed at a token of its own, which carries a large share of the weight: a wrong, missing or misplaced token is an
// error of about one.
inline constexpr double kAttentionTolerance = 0.1;

struct AttentionCheck {
  double kernel_error = 0;       // worst relative error against exact attention on the decoded tensors
  double compression_error = 0;  // mean relative error against exact attention on the tensors before encoding
};

// Attention of one query (the token after the prefix) over all layers, window by window. Not thread-safe; one a worker.
class PrefixAttention {
 public:
  // `kernels`: what attends, the CPU if null; content and kernels outlive this.
  PrefixAttention(const BlockContent& content, uint32_t q_heads, DeviceKernels* kernels = nullptr);

  // Begins a prefix. `draw` picks the tokens that the queries are aimed at; `check`: also compute the exact results.
  void Start(std::span<const BlockKey> prefix, uint64_t draw, bool check);
  // The next blocks of the prefix; blocks[i] is that of keys[i]. Statuses as Attend.
  absl::Status Attend(std::span<const BlockView> blocks);
  // Adds the same blocks to the exact results, where this prefix is checked. Statuses as DecodeBlock.
  absl::Status AddToCheck(std::span<const BlockView> blocks, std::span<const BlockKey> keys);

  bool checking() const { return exact_decoded_ != nullptr; }
  // Compares. DATA_LOSS: beyond kAttentionTolerance or not a number. Only when checking().
  absl::StatusOr<AttentionCheck> Finish() const;

 private:
  absl::Status AttendLayer(std::span<const BlockView> blocks, uint32_t layer);

  const BlockContent& content_;
  DeviceKernels* kernels_;
  AttentionShape shape_;
  std::vector<float> query_;                    // [layers, q_heads, head_dim]
  std::vector<float> output_;                   // likewise
  std::vector<float> lse_;                      // [layers, q_heads]
  std::vector<float> window_out_, window_lse_;  // one layer of one window
  std::unique_ptr<ExactAttention> exact_decoded_, exact_original_;
  std::vector<float> k_, v_;  // one block's tensors
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_PREFIX_ATTENTION_H_
