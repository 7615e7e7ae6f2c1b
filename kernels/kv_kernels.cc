#include "kernels/kv_kernels.h"

#include "kernels/cpu/cpu_attention.h"
#include "kernels/cpu/cpu_decode.h"
#include "kernels/cpu/cpu_encode.h"

namespace polarkv {
namespace {

std::span<uint8_t> Bytes(std::span<float> x) { return {reinterpret_cast<uint8_t*>(x.data()), x.size_bytes()}; }

}  // namespace

absl::StatusOr<std::vector<uint8_t>> EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v,
                                                 const EncodeOptions& options) {
  std::vector<uint8_t> bytes;
  if (absl::Status s = EncodeBlock(spec, k, v, options, bytes); !s.ok()) return s;
  return bytes;
}

absl::Status EncodeBlock(const BlockSpec& spec, const TensorView& k, const TensorView& v, const EncodeOptions& options,
                         std::vector<uint8_t>& bytes) {
  return cpu::EncodeBlock(spec, k, v, options, cpu::BestInstructionSet(), bytes);
}

absl::Status DecodeBlock(const BlockView& block, std::span<float> k, std::span<float> v) {
  return DecodeBlock(block, Dtype::kF32, KvDomain::kModel, Bytes(k), Bytes(v));
}

absl::Status DecodeBlock(const BlockView& block, Dtype dtype, KvDomain domain, std::span<uint8_t> k,
                         std::span<uint8_t> v) {
  return cpu::DecodeBlock(block, dtype, domain == KvDomain::kRotated, k, v, cpu::BestInstructionSet());
}

absl::Status Attend(std::span<const BlockView> blocks, uint32_t layer, uint32_t q_heads, uint32_t queries,
                    std::span<const float> q, float scale, std::span<float> o, std::span<float> lse) {
  return cpu::Attend(blocks, layer, q_heads, queries, q, scale, o, lse, cpu::BestInstructionSet());
}

}  // namespace polarkv
