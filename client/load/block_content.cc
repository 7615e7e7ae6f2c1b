#include "client/load/block_content.h"

#include <cstring>

#include "client/load/mixing.h"
#include "kernels/kv_kernels.h"

namespace polarkv::load {
namespace {

constexpr uint64_t kKeyStream = 0x4B;
constexpr uint64_t kValueStream = 0x56;

uint64_t Seed(const BlockKey& key, uint64_t stream) {
  uint64_t word;
  std::memcpy(&word, key.bytes.data(), sizeof(word));
  return Mix(word ^ stream);
}

// Sum of the four bytes of each half of `word`, low half first.
struct ValuePair {
  float low, high;
};
ValuePair Values(uint64_t word) {
  const uint64_t pairs = (word & 0x00FF00FF00FF00FF) + ((word >> 8) & 0x00FF00FF00FF00FF);
  const uint64_t sums = (pairs & 0x0000FFFF0000FFFF) + ((pairs >> 16) & 0x0000FFFF0000FFFF);
  const auto value = [](uint64_t sum) { return static_cast<float>(static_cast<int32_t>(sum) - 510) * 0x1p-7f; };
  return {value(sums & 0xFFFF), value(sums >> 32)};
}

// Values `first` .. of the stream; `first` and the length are even, as every head_dim is.
void FillStream(uint64_t seed, uint64_t first, std::span<float> out) {
  for (size_t i = 0; i < out.size(); i += 2) {
    const ValuePair pair = Values(StreamWord(seed, (first + i) / 2));
    out[i] = pair.low;
    out[i + 1] = pair.high;
  }
}

}  // namespace

BlockContent::BlockContent(const NamespaceDescriptor& descriptor, DeviceKernels* kernels)
    : descriptor_(descriptor),
      values_(uint64_t{descriptor.layers} * descriptor.kv_heads * descriptor.block_tokens * descriptor.head_dim),
      kernels_(kernels) {}

void BlockContent::FillTensors(const BlockKey& key, std::span<float> k, std::span<float> v) const {
  FillStream(Seed(key, kKeyStream), 0, k);
  FillStream(Seed(key, kValueStream), 0, v);
}

void BlockContent::FillKeyVector(const BlockKey& key, uint32_t layer, uint32_t kv_head, uint32_t token,
                                 std::span<float> out) const {
  const uint64_t row = (uint64_t{layer} * descriptor_.kv_heads + kv_head) * descriptor_.block_tokens + token;
  FillStream(Seed(key, kKeyStream), row * descriptor_.head_dim, out);
}

absl::StatusOr<std::vector<uint8_t>> BlockContent::Encode(const BlockKey& key, uint64_t block_index) const {
  std::vector<float> k(values_), v(values_);
  FillTensors(key, k, v);
  const std::array<int64_t, 4> shape{descriptor_.layers, descriptor_.kv_heads, descriptor_.block_tokens,
                                     descriptor_.head_dim};
  const BlockSpec spec = NamespaceBlockSpec(descriptor_, key, block_index);
  const TensorView k_view = TensorView::Contiguous(k.data(), Dtype::kF32, shape),
                   v_view = TensorView::Contiguous(v.data(), Dtype::kF32, shape);
  if (kernels_ == nullptr) return EncodeBlock(spec, k_view, v_view);
  std::vector<uint8_t> bytes;
  if (absl::Status status = kernels_->EncodeBlock(spec, k_view, v_view, {}, bytes); !status.ok()) return status;
  return bytes;
}

}  // namespace polarkv::load
