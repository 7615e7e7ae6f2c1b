// The content of a block as a function of its key: anybody who knows the key can tell every right byte from a wrong
// one.
#ifndef POLARKV_CLIENT_LOAD_BLOCK_CONTENT_H_
#define POLARKV_CLIENT_LOAD_BLOCK_CONTENT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/block_key.h"
#include "codec/namespace_descriptor.h"
#include "kernels/device_kernels.h"

namespace polarkv::load {

// Values are (sum of four bytes - 510) / 128 of a SplitMix64 stream seeded by the key: integers below 2^10 over a power
// of two, so they are exact in fp16, the same on every platform, near normal (standard deviation 1.15), and any one of
// them can be had alone. Tensors have shape [layers, kv_heads, block_tokens, head_dim], contiguous. Thread-safe;
// immutable.
class BlockContent {
 public:
  // `kernels`: what encodes, the CPU if null; they outlive this.
  explicit BlockContent(const NamespaceDescriptor& descriptor, DeviceKernels* kernels = nullptr);

  uint64_t tensor_values() const { return values_; }
  // Fills all of a key's K and V; spans of tensor_values().
  void FillTensors(const BlockKey& key, std::span<float> k, std::span<float> v) const;
  // The key vector of one token, head_dim values.
  void FillKeyVector(const BlockKey& key, uint32_t layer, uint32_t kv_head, uint32_t token, std::span<float> out) const;

  // The encoded, tagged block number `block_index` of a chain. Statuses as EncodeBlock.
  absl::StatusOr<std::vector<uint8_t>> Encode(const BlockKey& key, uint64_t block_index) const;
  const NamespaceDescriptor& descriptor() const { return descriptor_; }

 private:
  NamespaceDescriptor descriptor_;
  uint64_t values_;
  DeviceKernels* kernels_;
};

}  // namespace polarkv::load

#endif  // POLARKV_CLIENT_LOAD_BLOCK_CONTENT_H_
