#include "kernels/kv_kernels.h"

#include "codec/reference_codec.h"
#include "kernels/cpu/cpu_attention.h"

namespace polarkv {

absl::StatusOr<std::vector<uint8_t>> EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                                 const EncodeOptions& options) {
  return reference::EncodeBlock(spec, k, v, options);
}

absl::Status DecodeBlock(const BlockView& block, std::span<float> k, std::span<float> v) {
  return reference::DecodeBlock(block, k, v);
}

absl::Status Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                    std::span<const float> q, float scale, std::span<float> o, std::span<float> lse) {
  return cpu::Attend(blocks, layer, q_heads, queries, q, scale, o, lse, cpu::BestInstructionSet());
}

}  // namespace polarkv
